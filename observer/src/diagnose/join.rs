//! Joins an OOM kill to the deaths it causes, whichever record comes first.
//!
//! **Bounded:** 64 past OOM kills; a death waits 0.1 s, an OOM kill 1 s.
//!
//! The kernel sends SIGKILL, then marks the victim; another CPU may see the death in between. An OOM kill waits a moment
//! for its victim's death, which knows the arguments that can't be read from outside; a death by a SIGKILL of the kernel's
//! own waits a moment for the OOM kill.

use std::collections::VecDeque;

use super::{exit::may_be_oom, oom::Join};
use crate::decode::{Exit, KernelEvent, Oom, TaskId};

/// How long a death waits for its OOM kill, in nanoseconds: the two are microseconds apart.
const EXIT_WAITS_NS: u64 = 100_000_000;
/// How long an OOM kill waits for the death of its victim: a large one may be stuck in the kernel for a while.
const OOM_WAITS_NS: u64 = 1_000_000_000;
/// How many OOM kills are remembered for the deaths that follow.
const KEPT: usize = 64;
/// An OOM kill has nothing to do with a death by the kernel so much later.
const RELATED_NS: u64 = 60_000_000_000;

/// What is ready to be emitted, in this order.
#[derive(Debug)]
pub enum Ready {
    /// An OOM kill, with the death of its victim when that came in time. The death follows by itself.
    Oom(Box<Oom>, Option<Box<Exit>>),
    /// A death.
    Exit(Box<Exit>),
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    until_ns: u64,
}

/// An OOM kill that is ready, and what deaths need of it once its event has a number.
#[derive(Debug)]
struct KnownKill {
    victim: TaskId,
    mm: u64,
    time_ns: u64,
    join: Option<Join>,
}

/// Holds what waits.
#[derive(Debug, Default)]
pub struct Joiner {
    ooms: Vec<Waiting<Box<Oom>>>,
    exits: Vec<Waiting<Box<Exit>>>,
    known: VecDeque<KnownKill>,
}

impl Joiner {
    /// Takes a record in; whatever is ready comes out.
    pub fn push(&mut self, event: KernelEvent, now_ns: u64, out: &mut Vec<Ready>) {
        match event {
            KernelEvent::Oom(oom) => self.push_oom(oom, now_ns, out),
            KernelEvent::Exit(exit) => self.push_exit(exit, now_ns, out),
            // Ports have an incident of their own.
            KernelEvent::Bind(_) => {}
        }
    }

    fn push_oom(&mut self, oom: Box<Oom>, now_ns: u64, out: &mut Vec<Ready>) {
        let of_victim = |w: &Waiting<Box<Exit>>| is_own(&oom, &w.item);
        if let Some(at) = self.exits.iter().position(of_victim) {
            let exit = self.exits.remove(at).item;
            self.remember(&oom);
            out.push(Ready::Oom(oom, Some(exit.clone())));
            out.push(Ready::Exit(exit));
            return;
        }
        self.ooms.push(Waiting { item: oom, until_ns: now_ns.saturating_add(OOM_WAITS_NS) });
    }

    fn push_exit(&mut self, exit: Box<Exit>, now_ns: u64, out: &mut Vec<Ready>) {
        if exit.record.status & 0x7f != 9 {
            out.push(Ready::Exit(exit));
            return;
        }
        let mm = exit.task.record.mm;
        let own = self.ooms.iter().position(|w| is_own(&w.item, &exit));
        let shares = |oom: &Oom| oom.kill_sent() && mm != 0 && oom.victim.record.mm == mm;
        let shared = || self.ooms.iter().position(|w| shares(&w.item));
        if let Some(at) = own.or_else(shared) {
            let oom = self.ooms.remove(at).item;
            let victim_exit = own.map(|_| exit.clone());
            self.remember(&oom);
            out.push(Ready::Oom(oom, victim_exit));
            out.push(Ready::Exit(exit));
        } else if may_be_oom(&exit) && self.kill_of(&exit).is_none() {
            self.exits.push(Waiting { item: exit, until_ns: now_ns.saturating_add(EXIT_WAITS_NS) });
        } else {
            out.push(Ready::Exit(exit));
        }
    }

    /// Hands out what has waited long enough; at the end (`now_ns` of `u64::MAX`) everything.
    pub fn expire(&mut self, now_ns: u64, out: &mut Vec<Ready>) {
        for oom in take_due(&mut self.ooms, now_ns).into_iter().filter(|oom| oom.kill_sent()) {
            self.remember(&oom);
            out.push(Ready::Oom(oom, None));
        }
        for exit in take_due(&mut self.exits, now_ns) {
            out.push(Ready::Exit(exit));
        }
    }

    /// When [`Self::expire`] has something to do next.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let ooms = self.ooms.iter().map(|w| w.until_ns);
        ooms.chain(self.exits.iter().map(|w| w.until_ns)).min()
    }

    /// How many records wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ooms.len() + self.exits.len()
    }

    fn remember(&mut self, oom: &Oom) {
        if self.known.len() == KEPT {
            self.known.pop_front();
        }
        self.known.push_back(KnownKill {
            victim: oom.victim.id(),
            mm: oom.victim.record.mm,
            time_ns: oom.time_ns,
            join: None,
        });
    }

    /// The event of an OOM kill has its number: the deaths that follow may name it.
    pub fn emitted(&mut self, oom: &Oom, join: Join) {
        let id = oom.victim.id();
        let is_it = |known: &&mut KnownKill| known.victim == id && known.time_ns == oom.time_ns;
        if let Some(known) = self.known.iter_mut().rev().find(is_it) {
            known.join = Some(join);
        }
    }

    /// The OOM kill that a death belongs to, once its event is emitted.
    #[must_use]
    pub fn find(&self, exit: &Exit) -> Option<&Join> {
        self.kill_of(exit)?.join.as_ref()
    }

    /// When the OOM kill happened that a death belongs to: its event comes first.
    #[must_use]
    pub fn oom_time_ns(&self, exit: &Exit) -> Option<u64> {
        Some(self.kill_of(exit)?.time_ns)
    }

    /// Whether an OOM kill may concern the death of this process, other than by [`may_be_oom`].
    #[must_use]
    pub fn may_concern(&self, id: TaskId) -> bool {
        !self.ooms.is_empty() || self.known.iter().any(|known| known.victim == id)
    }

    /// The OOM kill that a death belongs to: its own, or that of a process with the same memory, which the kernel kills
    /// along. Each member of a memory.oom.group is marked, and so has an OOM record of its own.
    fn kill_of(&self, exit: &Exit) -> Option<&KnownKill> {
        if self.known.is_empty() {
            return None;
        }
        let id = exit.task.id();
        let mm = exit.task.record.mm;
        let recent = || {
            self.known
                .iter()
                .rev()
                .filter(|known| exit.time_ns.saturating_sub(known.time_ns) < RELATED_NS)
        };
        recent()
            .find(|known| known.victim == id)
            .or_else(|| recent().find(|known| may_be_oom(exit) && mm != 0 && known.mm == mm))
    }
}

/// Whether a death is that of an OOM kill's victim. A victim that was ending anyway is only marked, and nobody was killed;
/// but one that died on another CPU before it was marked took the note of its SIGKILL along.
fn is_own(oom: &Oom, exit: &Exit) -> bool {
    let is_victim = oom.victim.id() == exit.task.id();
    let took_the_note = || exit.notes.iter().any(|note| note.record.signal == 9);
    is_victim && (oom.kill_sent() || (may_be_oom(exit) && took_the_note()))
}

fn take_due<T>(waiting: &mut Vec<Waiting<T>>, now_ns: u64) -> Vec<T> {
    let (due, rest) = std::mem::take(waiting).into_iter().partition(|w| w.until_ns <= now_ns);
    *waiting = rest;
    let due: Vec<Waiting<T>> = due;
    due.into_iter().map(|w| w.item).collect()
}

#[cfg(test)]
mod tests;
