//! A release: whether another socket still serves there, and whether a new server follows within [`MOMENT`] seconds.

use std::sync::Arc;

use super::{
    Incidents, MOMENT,
    case::{Case, Keys},
    keys::{Ident, LoopKey, after, meets, unit},
    ports::{Outage, Released},
    weigh::{is_late, weigh},
};
use crate::model::{Body, Event, Process, ReleaseEvent, Socket, Time};

impl Incidents {
    pub(super) fn release(&mut self, event: &Arc<Event>, release: &ReleaseEvent) {
        for case in &mut self.cases {
            case.drop_still_held(&release.socket);
        }
        match self.ports.release(&release.socket, &[], release.process.as_ref(), event.time) {
            Released::Again => self.pair(event, &release.socket),
            Released::Server(_) => {}
            Released::Unserved => {
                let outage = Outage {
                    socket: release.socket.clone(),
                    began: event.time,
                    events: vec![(event.time, event.number())],
                    last: release.process.clone(),
                    late: is_late(release),
                    ended: None,
                };
                let keys = outage_keys(&outage);
                match self.joined(&keys, event.time) {
                    Some(at) => {
                        let Some(case) = self.cases.get_mut(at) else { return };
                        case.name(event);
                        case.learn(keys);
                        case.outage(outage);
                    }
                    None if is_chosen(&outage) => drop(self.waiting.push(outage)),
                    None => {}
                }
            }
        }
    }

    /// A release is reported twice, by the death and by its own event: the second is evidence for the same outage.
    pub(super) fn pair(&mut self, event: &Event, socket: &Socket) {
        let same = |outage: &Outage| {
            meets(&outage.socket, socket) && after(outage.began, MOMENT) >= event.time
        };
        let cases = self.cases.iter_mut().flat_map(|case| &mut case.outages);
        let in_case = cases.rev().find(|outage| same(outage));
        let waits = self.waiting.meeting(socket).filter(|(_, outage)| same(outage)).last();
        let waits = waits.map(|(at, _)| at);
        if let Some(outage) = in_case.or_else(|| self.waiting.get_mut(waits?)) {
            outage.events.push((event.time, event.number()));
            if let (None, Body::Exit(exit)) = (&outage.last, &event.body) {
                outage.last = Some(exit.process.clone());
            }
        }
        let outages = |case: &Case| {
            case.outages.iter().any(|o| o.events.contains(&(event.time, event.number())))
        };
        for case in self.cases.iter_mut().filter(|case| outages(case)) {
            case.name(event);
        }
    }

    /// No new server within [`MOMENT`] seconds: that is an outage, whoever asked for the stop.
    pub(super) fn outages_due(&mut self, due: Time) {
        while let Some((at, outage)) = self.waiting.first()
            && after(outage.began, MOMENT) <= due
        {
            let Some(outage) = self.waiting.remove(at) else { return };
            let keys = outage_keys(&outage);
            let joined = self.joined(&keys, outage.began);
            let deaths: Vec<Arc<Event>> = self
                .dead
                .iter()
                .filter(|dead| outage.events.contains(&(dead.time, dead.number())))
                .cloned()
                .collect();
            let Some(case) = self.case(joined, outage.began) else { return };
            case.first = case.first.min(outage.began);
            case.last = case.last.max(outage.began);
            case.learn(keys);
            for dead in deaths {
                if let Body::Exit(exit) = &dead.body {
                    case.name(&dead);
                    case.death(&dead, weigh(exit), LoopKey::of(&exit.process).as_ref());
                }
            }
            case.outage(outage);
        }
    }
}

fn outage_keys(outage: &Outage) -> Keys {
    Keys {
        sockets: vec![outage.socket.clone()],
        idents: outage.last.iter().map(Ident::of).collect(),
        ..Keys::default()
    }
}

/// Whether the server chose that port or path: ephemeral ports come from the kernel, and user sessions create and remove
/// socket files all day.
pub(super) fn is_chosen(outage: &Outage) -> bool {
    was_chosen(&outage.socket, outage.last.as_ref())
}

/// The same of a socket and a process that served it.
pub(super) fn was_chosen(socket: &Socket, server: Option<&Process>) -> bool {
    match socket.port {
        Some(_) => !socket.ephemeral,
        None => server.is_some_and(|process| unit(process).is_some()),
    }
}
