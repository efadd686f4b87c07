//! Where a holder comes from.

use std::sync::Arc;

use super::{Incidents, case::Origin, keys::Ident};
use crate::model::{Body, Event, Holder, Process, Relation, Time};

impl Incidents {
    /// Where a holder comes from: who opened its socket, and whose death left it behind.
    pub(super) fn origin(&self, holder: &Holder, time: Time) -> Origin {
        let who = Ident::of(&holder.process);
        let opener = self.ports.opener(&holder.socket, holder.since).cloned();
        let own = opener.as_ref().filter(|opener| Ident::of(&opener.process).is(who));
        let left_by = match (&opener, own) {
            (_, Some(own)) if holder.relation == Relation::Orphan => {
                own.process.ppid.filter(|ppid| *ppid > 1).and_then(|ppid| {
                    self.death(time, |dead| dead.pid == ppid && was_parent(dead, &own.process))
                })
            }
            (Some(opener), None) => {
                let opener = Ident::of(&opener.process);
                self.death(time, |dead| Ident::of(dead).is(opener))
            }
            _ => None,
        };
        Origin { opener, left_by }
    }

    fn death(&self, before: Time, wanted: impl Fn(&Process) -> bool) -> Option<Arc<Event>> {
        let found = self.dead.iter().rev().find(|dead| {
            matches!(&dead.body, Body::Exit(exit) if dead.time <= before && wanted(&exit.process))
        });
        found.cloned()
    }
}

/// Whether the process with the parent's pid existed when the child was made: the kernel reuses pids.
fn was_parent(dead: &Process, child: &Process) -> bool {
    match (dead.start_time, child.start_time) {
        (Some(dead), Some(child)) => dead <= child,
        _ => false,
    }
}
