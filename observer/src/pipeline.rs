//! The flow itself: records in, events out, in one place for the live kernel and for recordings.

mod ports;
mod seen;

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;

use crate::{
    decode::{self, Exit, KernelEvent, Note, Oom, Patterns},
    diagnose::{
        exit::{Facts, Noted, cause, seconds_between},
        join::{Joiner, Ready},
        oom::{Join, Surroundings, event as oom_event},
        recent::{Recent, RecentDeaths},
    },
    enrich::{Enricher, Host, Symbols},
    kernel::{clock::Clock, loss::Loss},
    model::{
        Body, Event, ExitEvent, IncidentEvent, LossEvent, Missing, Process, SCHEMA, SessionEvent,
        Socket, Status, Time,
    },
};

use ports::Told;
pub use ports::{Look, Looked, Ports};
use seen::Seen;

/// Turns records into events.
pub struct Pipeline {
    host: Host,
    enricher: Enricher,
    symbols: Symbols,
    joiner: Joiner,
    recent: RecentDeaths,
    seen: Seen,
    patterns: Patterns,
    seq: u64,
    ports: Option<Ports>,
    /// Ordinary deaths are wanted too.
    exits_all: bool,
    /// And have numbers like all other events.
    ordinary_numbered: bool,
    /// Records that could not be decoded, and were not told yet.
    undecodable: u64,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(host: Host, enricher: Enricher, symbols: Symbols) -> Self {
        Self {
            host,
            enricher,
            symbols,
            joiner: Joiner::default(),
            recent: RecentDeaths::default(),
            seen: Seen::default(),
            patterns: Patterns::default(),
            seq: 0,
            ports: None,
            exits_all: true,
            ordinary_numbered: true,
            undecodable: 0,
        }
    }

    /// Watches ports too: whoever feeds the pipeline makes the looks it wants.
    pub fn watch_ports(&mut self, ports: Ports) {
        self.ports = Some(ports);
    }

    /// Leaves out deaths with code 0, which come only because a holder died.
    pub fn set_exits_all(&mut self, all: bool) {
        self.exits_all = all;
    }

    /// Whether deaths with code 0 have numbers like all other events; with the number 0 they are for those who listen, not
    /// for the record.
    pub fn number_ordinary(&mut self, numbered: bool) {
        self.ordinary_numbered = numbered;
    }

    /// The first event has the number after `seq`.
    pub fn go_on_after(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// The number of the last event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The look at all descriptors to make next, if any; [`Self::looked`] takes its outcome.
    pub fn look_wanted(&mut self, now_ns: u64) -> Option<Look> {
        self.ports.as_mut()?.wanted(now_ns)
    }

    /// Takes in what a look has found, by now.
    pub fn looked(&mut self, found: Result<Looked>, now_ns: u64) -> Vec<Event> {
        let mut told = Vec::new();
        if let Some(ports) = &mut self.ports {
            match found {
                Ok(found) => ports.looked(found, now_ns, &mut self.enricher, &mut told),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "can't look who holds what");
                    ports.failed(now_ns, &mut self.enricher, &mut told);
                }
            }
        }
        let mut out = Vec::new();
        self.tell_ports(told, &mut out);
        out
    }

    /// Process ids that hold served ports: the kernel side must report their deaths whatever the exit code.
    #[must_use]
    pub fn port_holders(&self) -> std::collections::HashSet<u32> {
        self.ports.as_ref().map(Ports::holders).unwrap_or_default()
    }

    fn tell_ports(&mut self, told: Vec<Told>, out: &mut Vec<Event>) {
        for told in told {
            match told {
                Told::Event(time_ns, body) => out.push(self.event(time_ns, body)),
                Told::Death(exit, released) => out.extend(self.exit(&exit, released)),
            }
        }
    }

    /// The first event of a run.
    pub fn session(&mut self, session: SessionEvent, now_ns: u64) -> Event {
        self.event(now_ns, Body::Session(Box::new(session)))
    }

    /// The same for somebody who begins to listen, and who serves what by now: whoever sends them numbers them.
    #[must_use]
    pub fn for_listener(&self, session: SessionEvent, now_ns: u64) -> Vec<Event> {
        let serving = self.ports.as_ref().map(Ports::serving).unwrap_or_default();
        let serving = serving.into_iter().map(|listen| Body::Listen(Box::new(listen)));
        let bodies = std::iter::once(Body::Session(Box::new(session))).chain(serving);
        bodies.map(|body| self.unnumbered(now_ns, body)).collect()
    }

    /// An event that tells of a loss.
    pub fn loss(&mut self, loss: &Loss) -> Event {
        let clock = &self.enricher.clock;
        let (from_ns, to_ns) = loss.span_ns;
        let event = LossEvent {
            lost: [(loss.kind.clone(), loss.count)].into(),
            from: Time(clock.time(from_ns)),
            to: Time(clock.time(to_ns)),
            reason: loss.reason.clone(),
            at_most: loss.at_most,
        };
        self.event(to_ns, Body::Loss(event))
    }

    /// An event that tells of what was lost behind the pipeline.
    pub fn lost(&mut self, loss: LossEvent) -> Event {
        let time = loss.to;
        Event { time, ..self.event(0, Body::Loss(loss)) }
    }

    /// A story; one that still grows may be told without a number: then it is for those who listen, not for the record.
    pub fn incident(&mut self, incident: IncidentEvent, numbered: bool) -> Event {
        let time = incident.to;
        let body = Body::Incident(Box::new(incident));
        let event = if numbered { self.event(0, body) } else { self.unnumbered(0, body) };
        Event { time, ..event }
    }

    /// An event that tells of records that could not be decoded since the last one.
    pub fn unreadable(&mut self, span_ns: (u64, u64)) -> Option<Event> {
        let count = std::mem::take(&mut self.undecodable);
        let (kind, reason) = ("unknown".to_owned(), "they could not be decoded".to_owned());
        (count > 0).then(|| self.loss(&Loss { kind, count, span_ns, reason, at_most: false }))
    }

    /// The clock that events are told by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.enricher.clock
    }

    /// Takes records in, in any order; events come out.
    pub fn feed(&mut self, records: &[Bytes], now_ns: u64) -> Vec<Event> {
        let mut out = Vec::new();
        self.feed_each(records, now_ns, |event| out.push(event));
        out
    }

    /// As [`Self::feed`], one event at a time: what is dropped before the next one is made costs the allocator least.
    pub fn feed_each(&mut self, records: &[Bytes], now_ns: u64, mut tell: impl FnMut(Event)) {
        self.enricher.clock.resample();
        let read =
            records.iter().map(|record| (decode::time_ns(record), self.patterns.read(record)));
        let mut order: Vec<(u64, decode::Partial)> = read.collect();
        order.sort_by_key(|(time_ns, _)| *time_ns);
        let (mut ready, mut out) = (Vec::new(), Vec::new());
        for (_, record) in order {
            self.take(&record.whole(), now_ns, &mut ready, &mut out);
            for event in out.drain(..) {
                tell(event);
            }
        }
        self.joiner.expire(now_ns, &mut ready);
        self.tell(&mut ready, &mut out);
        for event in out {
            tell(event);
        }
    }

    /// `ready` is empty before and after: room that is used again.
    fn take(&mut self, record: &Bytes, now_ns: u64, ready: &mut Vec<Ready>, out: &mut Vec<Event>) {
        match self.decode(record) {
            Some(KernelEvent::Exit(exit)) if !self.seen.insert(exit.task.id()) => {}
            Some(KernelEvent::Bind(bind)) => {
                let mut told = Vec::new();
                if let Some(ports) = &mut self.ports {
                    ports.bind(bind, &mut self.enricher, &mut told);
                }
                self.tell_ports(told, out);
            }
            Some(event) => {
                self.joiner.push(event, now_ns, ready);
                self.tell(ready, out);
            }
            None => {}
        }
    }

    /// Lets go of everything that waits.
    pub fn finish(&mut self) -> Vec<Event> {
        let mut out = self.feed(&[], u64::MAX);
        let mut told = Vec::new();
        if let Some(ports) = &mut self.ports {
            ports.let_go(&mut self.enricher, &mut told);
        }
        self.tell_ports(told, &mut out);
        out
    }

    /// When [`Self::feed`] should be called although nothing came.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let ports = self.ports.as_ref().and_then(Ports::deadline_ns);
        self.joiner.deadline_ns().into_iter().chain(ports).min()
    }

    fn decode(&mut self, record: &Bytes) -> Option<KernelEvent> {
        decode::decode(record)
            .inspect_err(|error| {
                self.undecodable += 1;
                tracing::warn!(%error, "a record from the kernel side can't be read");
            })
            .ok()
    }

    fn tell(&mut self, ready: &mut Vec<Ready>, out: &mut Vec<Event>) {
        for ready in ready.drain(..) {
            match ready {
                Ready::Oom(oom, exit) => out.push(self.oom(&oom, exit.as_deref())),
                Ready::Exit(exit) => {
                    let exit = match &mut self.ports {
                        Some(ports) => ports.exit(exit),
                        None => Some((exit, Vec::new())),
                    };
                    out.extend(exit.and_then(|(exit, closed)| self.exit(&exit, closed)));
                }
            }
        }
    }

    fn oom(&mut self, oom: &Oom, exit: Option<&Exit>) -> Event {
        // The victim's own record, taken in its context, knows more than what could be read from outside.
        let victim = self.enricher.process(exit.map_or(&oom.victim, |exit| &exit.task));
        let trigger = self.enricher.process(&oom.trigger);
        let callers = self.symbols.names(oom.frames());
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
        self.joiner.told(oom, join);
        self.event(oom.time_ns, Body::Oom(Box::new(body)))
    }

    fn exit(&mut self, exit: &Exit, released: Vec<Socket>) -> Option<Event> {
        if exit.record.status == 0 && !self.exits_all {
            return None;
        }
        let id = exit.task.id();
        let process = self.enricher.process(&exit.task);
        let notes: Vec<Noted> = exit
            .notes
            .iter()
            .map(|note| Noted { note: note.clone(), sender: self.sender(exit, note, &process) })
            .collect();
        let status = Status::from_wait(exit.record.status);
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
        let is_ordinary = exit.record.status == 0;
        let body = ExitEvent {
            process,
            status,
            lifetime_seconds: seconds_between(exit.task.record.start_time_ns, exit.time_ns),
            peak_rss_bytes: (peak > 0).then_some(peak),
            released,
            cause,
            missing,
        };
        let body = Body::Exit(Arc::new(body));
        if is_ordinary && !self.ordinary_numbered {
            return Some(self.unnumbered(exit.time_ns, body));
        }
        Some(self.event(exit.time_ns, body))
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

    fn event(&mut self, time_ns: u64, body: Body) -> Event {
        self.seq += 1;
        Event { seq: self.seq, ..self.unnumbered(time_ns, body) }
    }

    fn unnumbered(&self, time_ns: u64, body: Body) -> Event {
        Event {
            schema: SCHEMA,
            seq: 0,
            time: Time(self.enricher.clock.time(time_ns)),
            boot_id: self.host.boot_id.clone(),
            host: self.host.name.clone(),
            body,
        }
    }
}

#[cfg(test)]
mod tests;
