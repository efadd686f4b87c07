//! Who served which port or path from when to when, and the outages in between.
//!
//! **Invariant:** no I/O and no clock.
//! **Bounded:** 4,096 served sockets and as many outages at once, 1,024 waiting events; of the spans the newest 3,500.

mod kept;
mod spans;

use std::{collections::BTreeMap, sync::Arc};

pub use kept::Kept;
pub use spans::{End, OutageSpan, ServedSpan};

use super::{
    PENDING, SETTLE,
    keys::{Ident, after, same_address},
    outage::was_chosen,
    places::{Pairs, PlaceIndex},
};
use crate::model::{Body, Event, ListenEvent, Process, Socket, Time};
use spans::named;

/// Most sockets that are served at once.
const OPEN: usize = 4096;
/// Who served what, and when nobody did: takes events in the order in which they are stored.
pub struct Ownership<W> {
    wanted: W,
    boot: Option<Arc<str>>,
    pending: BTreeMap<(Time, u64), Event>,
    newest: Option<Time>,
    open: PlaceIndex<ServedSpan>,
    gone: Pairs,
    open_outages: PlaceIndex<OutageSpan>,
    served: Kept<ServedSpan>,
    outages: Kept<OutageSpan>,
}

impl<W: Fn(&Socket, Option<&Process>, Time, Time) -> bool> Ownership<W> {
    /// Of those sockets, processes and times that are wanted.
    pub fn of(wanted: W) -> Self {
        Self {
            wanted,
            boot: None,
            pending: BTreeMap::new(),
            newest: None,
            open: PlaceIndex::new(OPEN),
            gone: Pairs::default(),
            open_outages: PlaceIndex::new(OPEN),
            served: Kept::default(),
            outages: Kept::default(),
        }
    }

    /// Takes an event in. Events come a little out of order: each waits for earlier ones.
    pub fn push(&mut self, event: &Event) {
        if self.boot.as_ref().is_some_and(|boot| *boot != event.boot_id) {
            self.settle(None);
            self.unwatch(None);
            self.confirm();
        }
        self.boot = Some(Arc::clone(&event.boot_id));
        self.newest = Some(self.newest.map_or(event.time, |newest| newest.max(event.time)));
        let concerns = match &event.body {
            Body::Listen(_) | Body::Release(_) | Body::Session(_) => true,
            Body::Exit(exit) => !exit.released.is_empty(),
            _ => false,
        };
        if concerns {
            self.pending.insert((event.time, event.number()), event.clone());
        }
        self.settle(self.newest.map(|newest| after(newest, -SETTLE)));
    }

    /// The result. `now`: the store is being written, so that what is open lasts until now.
    pub fn finish(mut self, now: Option<Time>) -> (Kept<ServedSpan>, Kept<OutageSpan>) {
        self.settle(None);
        self.confirm();
        if let Some(to) = now.max(self.newest) {
            for served in self.open.take_all() {
                self.keep(ServedSpan { to, end: End::Open, ..served });
            }
            for dark in self.open_outages.take_all() {
                self.keep_outage(OutageSpan { to, end: End::Open, ..dark });
            }
        }
        (self.served, self.outages)
    }

    fn settle(&mut self, horizon: Option<Time>) {
        while let Some(first) = self.pending.first_entry() {
            let waits = horizon.is_some_and(|horizon| first.key().0 > horizon);
            if waits && self.pending.len() <= PENDING {
                break;
            }
            let Some((_, event)) = self.pending.pop_first() else { break };
            self.take(&event);
        }
    }

    fn take(&mut self, event: &Event) {
        match &event.body {
            Body::Session(session) if session.begins_run(event.number()) => {
                self.confirm();
                self.unwatch(session.after.as_ref().map(|after| after.time));
            }
            Body::Listen(listen) => self.listen(listen, event.time),
            Body::Release(release) => {
                let late = release.late_seconds.is_some_and(|late| late > 0.0);
                self.release(&release.socket, release.process.as_ref(), event.time, late, &[]);
            }
            Body::Exit(exit) => {
                for socket in &exit.released {
                    let who = Some(&exit.process);
                    self.release(socket, who, event.time, false, &exit.released);
                }
            }
            _ => {}
        }
    }

    /// The watch ended at that moment, or at the last event; a new one begins.
    fn unwatch(&mut self, at: Option<Time>) {
        let Some(at) = at.or(self.newest) else { return };
        for served in self.open.iter_mut() {
            served.unwatched = Some(at.max(served.from));
        }
        for dark in self.open_outages.take_all() {
            self.keep_outage(OutageSpan { to: at.max(dark.from), end: End::Unwatched, ..dark });
        }
        self.gone.clear();
    }

    /// Whatever was not seen again since the watch began is over, at a moment that is not known.
    fn confirm(&mut self) {
        for served in self.open.take_all() {
            match served.unwatched {
                Some(to) => self.keep(ServedSpan { to, end: End::Unwatched, ..served }),
                None => drop(self.open.push(served)),
            }
        }
    }

    fn listen(&mut self, listen: &ListenEvent, time: Time) {
        let who = Ident::of(&listen.process);
        let is_again = |(_, served): &(u64, &ServedSpan)| {
            served.unwatched.is_some() && Ident::of(&served.process).is(who)
        };
        let again = self.open.at(&listen.socket).filter(|_| listen.initial).find(is_again);
        if let Some((again, _)) = again {
            if let Some(again) = self.open.get_mut(again) {
                again.unwatched = None;
                again.gaps += 1;
            }
            return;
        }
        let ends = |(_, dark): &(u64, &OutageSpan)| dark.from <= time;
        let ended = self.open_outages.meeting(&listen.socket).filter(ends);
        let ended: Vec<u64> = ended.map(|(at, _)| at).collect();
        for at in ended {
            if let Some(dark) = self.open_outages.remove(at) {
                self.keep_outage(OutageSpan { to: time, end: End::Seen, ..dark });
            }
        }
        let forgotten = self.open.push(ServedSpan {
            socket: listen.socket.clone(),
            process: named(&listen.process),
            from: time,
            initial: listen.initial,
            to: time,
            end: End::Open,
            last: None,
            gaps: 0,
            unwatched: None,
        });
        self.served.left_out += u64::from(forgotten.is_some());
    }

    /// A socket is released, and `along` with it, which therefore serve no longer either.
    fn release(
        &mut self,
        socket: &Socket,
        process: Option<&Process>,
        time: Time,
        late: bool,
        along: &[Socket],
    ) {
        let who = process.map(Ident::of);
        if self.gone.is_second(socket, who, time) {
            return;
        }
        let own = |served: &ServedSpan| who.is_some_and(|who| Ident::of(&served.process).is(who));
        let here = || {
            let there = self.open.at(socket);
            there.filter(|(_, served)| served.unwatched.is_none() && served.from <= time)
        };
        let found = here().find(|(_, served)| own(served)).or_else(|| here().next());
        // The beginning may have been lost, or be older than the store: the end counts all the same.
        let mut server = process.map(named);
        if let Some(served) = found.map(|(found, _)| found).and_then(|at| self.open.remove(at)) {
            let last = process.filter(|_| !own(&served)).map(named);
            server = server.or_else(|| Some(served.process.clone()));
            self.keep(ServedSpan { to: time, end: End::Seen, last, ..served });
        }
        let goes_too =
            |other: &ServedSpan| along.iter().any(|socket| same_address(&other.socket, socket));
        let still = |other: &ServedSpan| other.unwatched.is_none() && !goes_too(other);
        let dark = self.open_outages.at(socket).next().is_some();
        let is_served = self.open.meeting(socket).any(|(_, other)| still(other));
        if dark || is_served || !was_chosen(socket, server.as_ref()) {
            return;
        }
        let socket = socket.clone();
        let forgotten = self.open_outages.push(OutageSpan {
            socket,
            last: server,
            from: time,
            late,
            to: time,
            end: End::Open,
        });
        self.outages.left_out += u64::from(forgotten.is_some());
    }

    fn keep(&mut self, served: ServedSpan) {
        if (self.wanted)(&served.socket, Some(&served.process), served.from, served.to) {
            let chosen = was_chosen(&served.socket, Some(&served.process));
            self.served.push(served, chosen);
        }
    }

    fn keep_outage(&mut self, dark: OutageSpan) {
        if (self.wanted)(&dark.socket, dark.last.as_ref(), dark.from, dark.to) {
            self.outages.push(dark, true);
        }
    }
}
