//! A death: whether it opens an incident, and the earlier deaths of the same service.

use std::sync::Arc;

use super::{
    Incidents,
    case::{Keys, OtherServer, QUIET, StillHeld},
    keys::{Ident, Kin, LoopKey, after, child_of_shell, meets, same_service},
    outage::is_chosen,
    ports::{Outage, Released},
    step::{process_keys, refuse, remember},
    weigh::{Weight, opens, weigh},
};
use crate::model::{Body, Event, ExitEvent, Time};

/// So many deaths of the same service within [`QUIET`] seconds are a loop.
pub(super) const LOOP: usize = 3;

impl Incidents {
    pub(super) fn exit(&mut self, event: &Arc<Event>, exit: &ExitEvent) {
        let weight = weigh(exit);
        let who = Ident::of(&exit.process);
        let (mut dark, mut other_servers) = (Vec::new(), Vec::new());
        for socket in &exit.released {
            match self.ports.release(socket, &exit.released, Some(&exit.process), event.time) {
                Released::Unserved => dark.push(Outage {
                    socket: socket.clone(),
                    began: event.time,
                    events: vec![(event.time, event.number())],
                    last: Some(exit.process.clone()),
                    late: false,
                    ended: None,
                }),
                Released::Again => self.pair(event, socket),
                Released::Server(by) => {
                    let (time, seq) = (event.time, event.number());
                    other_servers.push(OtherServer { socket: socket.clone(), time, seq, by: *by });
                }
            }
        }
        for case in &mut self.cases {
            exit.released.iter().for_each(|socket| case.drop_still_held(socket));
        }
        let keys = exit_keys(exit, event.time, weight);
        let mut joined = self.joined(&keys, event.time);
        if joined.is_none() && (opens(exit, weight) || self.failed_before(exit, weight)) {
            joined = self.with_the_past(event, exit);
        }
        remember(&mut self.dead, event.clone());
        let Some(at) = joined else {
            for outage in dark.into_iter().filter(is_chosen) {
                self.waiting.push(outage);
            }
            return;
        };
        // The release may have come before the death that reports it.
        let told = |outage: &Outage| outage.events.contains(&(event.time, event.number()));
        for socket in &exit.released {
            let waits = self.waiting.meeting(socket).filter(|(_, outage)| told(outage));
            let waits: Vec<u64> = waits.map(|(at, _)| at).collect();
            dark.extend(waits.into_iter().filter_map(|at| self.waiting.remove(at)));
        }
        let still_held: Vec<StillHeld> = self
            .ports
            .opened_by(who)
            .filter(|served| !exit.released.iter().any(|socket| meets(socket, &served.socket)))
            .map(|served| StillHeld { served: served.clone(), exit: event.clone() })
            .collect();
        let Some(case) = self.cases.get_mut(at) else { return };
        case.name(event);
        case.death(event, weight, keys.again.as_ref());
        case.learn(keys);
        for outage in dark {
            case.outage(outage);
        }
        for half in still_held {
            case.holds_still(half);
        }
        for other in other_servers {
            case.other_server(other);
        }
    }

    /// Opens an incident, with the earlier deaths and refusals of the same service that opened none.
    fn with_the_past(&mut self, event: &Arc<Event>, exit: &ExitEvent) -> Option<usize> {
        let who = Ident::of(&exit.process);
        let since = after(event.time, -QUIET);
        let own = &exit.process;
        let deaths: Vec<_> = self
            .dead
            .iter()
            .filter(|dead| dead.time >= since)
            .filter_map(|dead| match &dead.body {
                Body::Exit(exit) => Some((dead.clone(), exit, weigh(exit))),
                _ => None,
            })
            .filter(|(_, exit, weight)| {
                *weight >= Weight::Failed && same_service(&exit.process, own)
            })
            .map(|(dead, exit, weight)| (dead, exit.process.clone(), weight))
            .collect();
        let refused: Vec<_> = self
            .refused
            .iter()
            .filter(|(refused, _)| match &refused.body {
                Body::Bind(bind) => refused.time >= since && Ident::of(&bind.process).is(who),
                _ => false,
            })
            .cloned()
            .collect();
        let case = self.case(None, event.time)?;
        for (dead, process, weight) in deaths {
            case.name(&dead);
            case.death(&dead, weight, LoopKey::of(&process).as_ref());
        }
        for (refused, origins) in refused {
            refuse(case, &refused, origins);
        }
        Some(self.cases.len() - 1)
    }

    /// A death that is ordinary once, but not again and again, nor after a refusal.
    fn failed_before(&self, exit: &ExitEvent, weight: Weight) -> bool {
        if weight != Weight::Failed {
            return false;
        }
        let who = Ident::of(&exit.process);
        let refused = self.refused.iter().any(
            |(event, _)| matches!(&event.body, Body::Bind(bind) if Ident::of(&bind.process).is(who)),
        );
        if refused || child_of_shell(&exit.process) {
            return refused;
        }
        let since = self.now.map(|now| after(now, -QUIET));
        let before = self.dead.iter().rev().filter(|dead| match &dead.body {
            Body::Exit(dead_exit) => {
                since.is_none_or(|since| dead.time >= since)
                    && weigh(dead_exit) >= Weight::Failed
                    && same_service(&dead_exit.process, &exit.process)
            }
            _ => false,
        });
        before.take(LOOP - 1).count() == LOOP - 1
    }
}

/// A death that was asked for, or that is ordinary, belongs to an incident by its process and its ports alone: a unit has many.
fn exit_keys(exit: &ExitEvent, time: Time, weight: Weight) -> Keys {
    let idents = vec![Ident::of(&exit.process)];
    let sockets = exit.released.clone();
    if weight < Weight::Failed {
        return Keys { sockets, idents, ..Keys::default() };
    }
    Keys {
        sockets,
        kin: Some(Kin::of(&exit.process, time)),
        oom_seq: exit.cause.oom_seq,
        ..process_keys(&exit.process)
    }
}
