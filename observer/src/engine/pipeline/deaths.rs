//! From an OOM kill or a death that is ready to its event.

use std::sync::Arc;

use super::{Pipeline, ReleasedSockets};
use crate::{
    decode::{Exit, Note, Oom},
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
        // `npm run` ends with the code of its shell, which ended with that of a child that was killed.
        if (129..=192).contains(&status.shell_status) {
            self.recent.push(Recent {
                id,
                ppid: exit.task.record.ppid,
                signal: status.signal,
                shell_status: status.shell_status,
                time_ns: exit.time_ns,
                comm: process.comm.clone().unwrap_or_default(),
            });
        }
        let body = ExitEvent {
            process,
            status,
            lifetime_seconds: seconds_between(exit.task.record.start_time_ns, exit.time_ns),
            peak_rss_bytes: (peak > 0).then_some(peak),
            released_total: (released.total > released.sockets.len() as u64)
                .then_some(released.total),
            released: released.sockets,
            cause,
            missing,
        };
        let body = Body::Exit(Arc::new(body));
        if is_code_zero && self.code_zero == CodeZero::Unnumbered {
            emit(self.unnumbered(exit.time_ns, body));
        } else {
            self.limited(exit.time_ns, body, released.served, emit);
        }
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
