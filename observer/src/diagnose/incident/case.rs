//! One incident while it grows: its events, and the keys by which further events join it.
//!
//! **Bounded:** 200 named events, and 64 entries of each kind.

mod merge;
mod named;
mod parts;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    keys::{Ident, Kin, LoopKey, after, meets, same_port},
    ports::{Outage, Server},
    weigh::Weight,
};
use named::NamedEvents;
pub(super) use parts::{Death, Keys, Origin, OtherServer, Refusal, StillHeld, Tally};

use crate::model::{Event, Socket, Time};

/// How long an incident stays open without a further event, and how far its events may lie apart, in seconds.
pub(super) const QUIET: i64 = 120;
/// Most entries of a list of an incident; the first ones and the newest ones are kept.
const KEPT: usize = 64;

/// An incident.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) named: NamedEvents,
    pub(super) unnamed: u64,
    pub(super) deaths: Vec<Death>,
    pub(super) tallies: BTreeMap<LoopKey, Tally>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) ooms: Vec<Arc<Event>>,
    pub(super) outages: Vec<Outage>,
    pub(super) listens: Vec<Server>,
    pub(super) still_held: Vec<StillHeld>,
    pub(super) other_servers: Vec<OtherServer>,
    pub(super) losses: Vec<Arc<Event>>,
    pub(super) restarts: Vec<(Time, u64)>,
    /// It was flushed before its end.
    pub(super) dropped: bool,
    pub(super) sockets: Vec<Socket>,
    pub(super) units: BTreeSet<String>,
    pub(super) idents: Vec<Ident>,
    kin: Vec<Kin>,
    again: BTreeSet<LoopKey>,
    pub(super) limits: BTreeSet<String>,
    /// What was emitted of it last.
    pub(super) emitted: Option<String>,
    pub(super) times_emitted: u32,
    pub(super) changed: bool,
    /// When it was last checked for something to emit.
    pub(super) asked: Option<Time>,
}

impl Case {
    pub(super) fn new(time: Time) -> Self {
        Self {
            first: time,
            last: time,
            named: NamedEvents::default(),
            unnamed: 0,
            deaths: Vec::new(),
            tallies: BTreeMap::new(),
            refusals: Vec::new(),
            ooms: Vec::new(),
            outages: Vec::new(),
            listens: Vec::new(),
            still_held: Vec::new(),
            other_servers: Vec::new(),
            losses: Vec::new(),
            restarts: Vec::new(),
            dropped: false,
            sockets: Vec::new(),
            units: BTreeSet::new(),
            idents: Vec::new(),
            kin: Vec::new(),
            again: BTreeSet::new(),
            limits: BTreeSet::new(),
            emitted: None,
            times_emitted: 0,
            changed: true,
            asked: None,
        }
    }

    /// Whether an outage still lasts.
    pub(super) fn has_outage(&self) -> bool {
        self.outages.iter().any(|outage| outage.ended.is_none())
    }

    /// How much it is made of.
    pub(super) fn parts(&self) -> usize {
        let events = self.deaths.len() + self.refusals.len() + self.ooms.len() + self.losses.len();
        let ports = self.outages.len() + self.listens.len() + self.still_held.len();
        events + ports + self.other_servers.len() + self.tallies.len()
    }

    /// When to check for something new to emit: at most once a second, since the check is expensive in a storm.
    pub(super) fn ask(&self) -> Option<Time> {
        self.changed.then(|| self.asked.map_or(self.first, |asked| after(asked, 1)))
    }

    /// When it closes if nothing more comes.
    pub(super) fn closes(&self) -> Option<Time> {
        (!self.has_outage()).then(|| after(self.last, QUIET))
    }

    /// Whether an event of that time and those keys belongs here.
    pub(super) fn joins(&self, keys: &Keys, time: Time) -> bool {
        let port =
            |list: &[Socket]| list.iter().any(|a| keys.sockets.iter().any(|b| same_port(a, b)));
        let ident = || self.idents.iter().any(|a| keys.idents.iter().any(|b| a.is(*b)));
        if self.has_outage() {
            let dark = self.outages.iter().filter(|outage| outage.ended.is_none());
            let dark: Vec<Socket> = dark.map(|outage| outage.socket.clone()).collect();
            if port(&dark) || ident() {
                return true;
            }
        }
        after(self.last, QUIET) >= time
            && after(time, QUIET) >= self.first
            // What joins the deaths of a loop comes first: it is asked for each of a storm.
            && (keys.again.as_ref().is_some_and(|again| self.again.contains(again))
                || port(&self.sockets)
                || ident()
                || keys.units.iter().any(|unit| self.units.contains(unit))
                || keys.limit.as_ref().is_some_and(|limit| self.limits.contains(limit))
                || keys.kin.is_some_and(|kin| self.kin.iter().any(|its| its.is_near(&kin)))
                || keys.oom_seq.is_some_and(|seq| self.ooms.iter().any(|oom| oom.seq == Some(seq))))
    }

    /// Takes an event in.
    pub(super) fn name(&mut self, event: &Event) {
        self.first = self.first.min(event.time);
        self.last = self.last.max(event.time);
        self.also(event.time, event.number());
        self.changed = true;
    }

    /// Names an event that is evidence, whenever it happened.
    pub(super) fn also(&mut self, time: Time, seq: u64) {
        self.unnamed += u64::from(self.named.insert((time, seq)));
    }

    /// Makes what an event is about a part of what the incident is about.
    pub(super) fn learn(&mut self, keys: Keys) {
        for socket in keys.sockets {
            self.concern(socket);
        }
        keys.units.into_iter().for_each(|unit| keep_first(&mut self.units, unit));
        for ident in keys.idents {
            if !self.idents.contains(&ident) {
                keep(&mut self.idents, ident);
            }
        }
        if let Some(kin) = keys.kin {
            keep(&mut self.kin, kin);
        }
        keys.again.into_iter().for_each(|again| keep_first(&mut self.again, again));
        keys.limit.into_iter().for_each(|limit| keep_first(&mut self.limits, limit));
    }

    fn concern(&mut self, socket: Socket) {
        let socket = Socket { ephemeral: false, ..socket };
        if !self.sockets.contains(&socket) && self.sockets.len() < KEPT {
            self.sockets.push(socket);
        }
    }

    /// `again`: what it has in common with the process before it, where it has failed.
    pub(super) fn death(&mut self, event: &Arc<Event>, weight: Weight, again: Option<&LoopKey>) {
        keep(&mut self.deaths, Death { event: event.clone(), weight });
        let at = (event.time, event.number());
        if let Some(key) = again.filter(|_| weight >= Weight::Failed) {
            self.tally(key, &Tally { count: 1, first: at, last: at });
        }
    }

    fn tally(&mut self, key: &LoopKey, more: &Tally) {
        if let Some(tally) = self.tallies.get_mut(key) {
            tally.count += more.count;
            tally.first = tally.first.min(more.first);
            tally.last = tally.last.max(more.last);
        } else if self.tallies.len() < KEPT {
            self.tallies.insert(key.clone(), *more);
        }
    }

    pub(super) fn oom(&mut self, event: &Arc<Event>) {
        keep(&mut self.ooms, event.clone());
    }

    pub(super) fn outage(&mut self, outage: Outage) {
        for (time, seq) in &outage.events {
            self.also(*time, *seq);
        }
        self.changed = true;
        // An outage that lasts must not be forgotten: it is what keeps the incident open.
        if self.outages.len() >= KEPT
            && let Some(old) = self.outages.iter().skip(1).position(|o| o.ended.is_some())
        {
            self.outages.remove(old + 1);
        }
        if self.outages.len() < KEPT {
            self.outages.push(outage);
        }
    }

    pub(super) fn listen(&mut self, served: &Server) {
        keep(&mut self.listens, served.clone());
    }

    pub(super) fn loss(&mut self, event: &Arc<Event>) {
        keep(&mut self.losses, event.clone());
        self.changed = true;
    }

    pub(super) fn holds_still(&mut self, half: StillHeld) {
        self.also(half.served.time, half.served.seq);
        self.concern(half.served.socket.clone());
        keep(&mut self.still_held, half);
    }

    pub(super) fn other_server(&mut self, other: OtherServer) {
        self.also(other.by.time, other.by.seq);
        self.concern(other.socket.clone());
        keep(&mut self.other_servers, other);
    }

    /// Nobody holds that socket any more.
    pub(super) fn drop_still_held(&mut self, socket: &Socket) {
        self.still_held.retain(|half| !meets(&half.served.socket, socket));
    }

    pub(super) fn refusal(&mut self, new: Refusal, is_same: impl Fn(&Event, &Event) -> bool) {
        for origin in &new.origins {
            if let Some(opener) = &origin.opener {
                self.also(opener.time, opener.seq);
            }
            if let Some(death) = &origin.left_by {
                self.also(death.time, death.number());
            }
        }
        match self.refusals.iter_mut().find(|known| is_same(&known.event, &new.event)) {
            Some(known) => {
                known.count += new.count;
                known.last = known.last.max(new.last);
            }
            None => keep(&mut self.refusals, new),
        }
    }
}

/// Keeps the first ones.
fn keep_first<T: Ord>(set: &mut BTreeSet<T>, new: T) {
    if set.len() < KEPT {
        set.insert(new);
    }
}

/// Keeps the first half of a list, and the newest.
fn keep<T>(list: &mut Vec<T>, new: T) {
    if list.len() >= KEPT {
        list.remove(KEPT / 2);
    }
    list.push(new);
}
