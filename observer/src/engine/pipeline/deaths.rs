//! From an OOM kill or a death that is ready to its event.

use std::sync::Arc;

use super::{HOLD_NS, Pipeline, PortTracker, ReleasedSockets, alike_cache::numbers};
use crate::{
    decode::{Exit, Note, Oom, Partial, TaskId},
    diagnose::{
        exit::{Facts, Noted, cause, seconds_between},
        oom::{Join, Surroundings, event as oom_event},
        recent::Recent,
    },
    engine::CodeZero,
    model::{Body, Event, ExitEvent, ExitStatus, Missing, Process},
};

impl Pipeline {
    pub(super) fn oom(&mut self, oom: &Oom, exit: Option<&Exit>) -> Event {
        // The victim's own record, taken in its context, knows more than what could be read from outside.
        let victim = self.enricher.process(exit.map_or(&oom.victim, |exit| &exit.task));
        let trigger = self.enricher.process(&oom.trigger);
        let callers: Vec<Option<String>> =
            oom.frames().iter().map(|at| self.symbols.get(at).cloned()).collect();
        let around = Surroundings {
            page_bytes: self.host.page_bytes,
            memory_v1: self.host.memory_v1,
            memory_bytes: self.host.memory_bytes,
            callers: &callers,
        };
        let body = oom_event(oom, victim, trigger, around);
        let join = Join {
            seq: self.seq + 1,
            victim: body.victim.pid,
            scope: body.scope,
            limit_cgroup: body.limit_cgroup.clone(),
            limit_bytes: body.limit_bytes,
        };
        self.joiner.emitted(oom, join);
        self.numbered(oom.time_ns, Body::Oom(Box::new(body)))
    }

    /// Emits a death, unless its code is 0 and nobody wants it.
    pub(super) fn death(
        &mut self,
        exit: &Exit,
        released: ReleasedSockets,
        emit: &mut dyn FnMut(Event),
    ) {
        let is_code_zero = exit.record.status == 0;
        if is_code_zero && self.code_zero == CodeZero::Ignored {
            return;
        }
        let id = exit.task.id();
        let process = self.enricher.process(&exit.task);
        let notes: Vec<Noted> = exit
            .notes
            .iter()
            .map(|note| Noted { note: note.clone(), sender: self.sender(exit, note, &process) })
            .collect();
        let status = ExitStatus::from_wait(exit.record.status);
        let child = match status.code {
            Some(code @ 129..=192) => self.recent.child(id, code),
            _ => None,
        };
        let cause = cause(Facts { exit, notes: &notes, oom: self.joiner.find(exit), child });
        let mut missing = Missing::new();
        let peak = exit.record.peak_rss_pages.saturating_mul(self.host.page_bytes);
        if peak == 0 {
            let why = if exit.task.no_mm() {
                "the process had given up its memory before it could be read"
            } else {
                "less than the kernel's counters resolve"
            };
            missing.insert("peak_rss_bytes".into(), why.into());
        }
        let body = ExitEvent {
            process,
            status,
            lifetime_seconds: seconds_between(exit.task.record.start_time_ns, exit.time_ns),
            peak_rss_bytes: (peak > 0).then_some(peak),
            released_total: (released.total > released.sockets.len() as u64)
                .then_some(released.total),
            released: released.sockets,
            cause: Arc::new(cause),
            missing,
            shape: None,
        };
        if (129..=192).contains(&body.status.shell_status) {
            self.remember(id, exit.task.record.ppid, exit.time_ns, &body);
        }
        let mut body = Arc::new(body);
        self.alike.learn(exit, &mut body, self.enricher.users.version());
        self.leave(exit.time_ns, (is_code_zero, released.served), body, emit);
    }

    /// Emits a death that differs in its numbers alone from the last one of its pattern, without all that it took to make that one;
    /// false: it takes the long way. It was seen before, or nobody wants it: it is not emitted.
    pub(super) fn alike(
        &mut self,
        record: &Partial<'_>,
        now_ns: u64,
        emit: &mut dyn FnMut(Event),
    ) -> bool {
        let Some(like) = record.like() else { return false };
        let id = TaskId { tgid: like.tgid, start_ns: like.start_time_ns };
        let time_ns = like.header.time_ns;
        // What waits for a scan comes first.
        let waits_ns = now_ns.saturating_sub(HOLD_NS);
        let concerns = |ports: &PortTracker| {
            ports.waits_since_ns(waits_ns).is_some() || ports.may_concern(id, time_ns)
        };
        if !self.queue.is_empty()
            || self.ports.as_ref().is_some_and(concerns)
            || self.joiner.may_concern(id)
        {
            return false;
        }
        let Some(exit) = self.alike.get(&like, self.enricher.users.version()) else { return false };
        let is_code_zero = like.status == 0;
        if !self.seen.insert(id) || (is_code_zero && self.code_zero == CodeZero::Ignored) {
            return true;
        }
        // In place, unless somebody has kept the one before.
        Arc::make_mut(exit).put(&numbers(&like, &self.enricher.clock, self.host.page_bytes));
        let exit = Arc::clone(exit);
        if exit.status.signal.is_some() {
            self.remember(id, like.ppid, time_ns, &exit);
        }
        self.leave(time_ns, (is_code_zero, false), exit, emit);
        true
    }

    fn leave(
        &mut self,
        time_ns: u64,
        (is_code_zero, served): (bool, bool),
        exit: Arc<ExitEvent>,
        emit: &mut dyn FnMut(Event),
    ) {
        let body = Body::Exit(exit);
        if is_code_zero && self.code_zero == CodeZero::Unnumbered {
            emit(self.unnumbered(time_ns, body));
        } else {
            self.limited(time_ns, body, served, emit);
        }
    }

    /// `npm run` ends with the code of its shell, which ended with that of a child that was killed.
    fn remember(&mut self, id: TaskId, ppid: u32, time_ns: u64, exit: &ExitEvent) {
        self.recent.push(Recent {
            id,
            ppid,
            signal: exit.status.signal,
            shell_status: exit.status.shell_status,
            time_ns,
            comm: exit.process.comm.clone().unwrap_or_default(),
        });
    }

    fn sender(&mut self, exit: &Exit, note: &Note, victim: &Process) -> Process {
        if note.sender_id() == exit.task.id() {
            return victim.clone();
        }
        match &note.sender {
            Some(task) if task.id() == note.sender_id() => self.enricher.process(task),
            _ => self.enricher.named(
                note.sender_id(),
                note.sender_comm(),
                "newer senders had pushed its picture out",
            ),
        }
    }
}
