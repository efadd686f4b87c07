//! The stages in a row: records in any order, events in the order of their times.
//!
//! A refusal and the death of a port's holder wait for a scan. Whatever happened after them waits as well, so that the death
//! of a refused process comes after its refusal: at most [`HOLD_NS`], and at most [`HELD`] of them, [`HELD_BYTES`] in all.
//!
//! **Invariant:** no I/O. `seq` is given when an event leaves, so that it grows in the order in which events are read.
//! **Bounded:** [`HELD`] outputs of [`HELD_BYTES`]; [`SYMBOLS`] names of kernel functions; see [`ports`] for what waits there, and
//! [`flood`] for what is kept of floods.

mod alike_cache;
mod deaths;
mod flood;
mod limited;
mod losses;
mod output;
mod ports;
mod seen;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::{
    CodeZero,
    scan::{ScanRequest, ScanResult},
};
use crate::{
    decode::{self, KernelEvent, Patterns},
    diagnose::{
        join::{Joiner, Ready},
        recent::RecentDeaths,
    },
    enrich::Enricher,
    kernel::{clock::Clock, host::Host, loss::Loss},
    model::{Body, Event, IncidentEvent, LossEvent, SessionEvent, Time},
};

use alike_cache::AlikeCache;
pub use flood::FloodLimit;
use flood::Floods;
use output::{Output, Queued, RELEASED, ReleasedSockets};
pub(super) use ports::PortTracker;
use seen::Seen;

/// How long later events wait for what waits for a scan, in nanoseconds: a scan takes 10 to 200 ms.
const HOLD_NS: u64 = 250_000_000;
/// How many of them wait, and of how many bytes.
const HELD: usize = 1024;
const HELD_BYTES: usize = 8 << 20;
/// How many served sockets a client is told of when it joins.
const TOLD: usize = 2048;
/// How many kernel functions are known by name: the stacks of OOM kills have a hundred.
const SYMBOLS: usize = 4096;

/// Turns records into events.
pub(super) struct Pipeline {
    host: Host,
    enricher: Enricher,
    symbols: HashMap<u64, String>,
    joiner: Joiner,
    recent: RecentDeaths,
    seen: Seen,
    patterns: Patterns,
    alike: AlikeCache,
    ports: Option<PortTracker>,
    code_zero: CodeZero,
    /// Absent where every event is told.
    floods: Option<Floods>,
    /// When something was pushed last.
    now_ns: u64,
    /// What is ready, or waits for something earlier.
    queue: Vec<Queued>,
    /// When the queue is looked at again although nothing came.
    held_until_ns: Option<u64>,
    seq: u64,
    /// Records that could not be decoded since the last event about them.
    undecodable: u64,
}

impl Pipeline {
    pub(super) fn new(
        host: Host,
        enricher: Enricher,
        code_zero: CodeZero,
        ports: Option<PortTracker>,
        flood: Option<FloodLimit>,
    ) -> Self {
        Self {
            host,
            enricher,
            symbols: HashMap::new(),
            joiner: Joiner::default(),
            recent: RecentDeaths::default(),
            seen: Seen::default(),
            patterns: Patterns::default(),
            alike: AlikeCache::default(),
            ports,
            code_zero,
            floods: flood.map(Floods::new),
            now_ns: 0,
            queue: Vec::new(),
            held_until_ns: None,
            seq: 0,
            undecodable: 0,
        }
    }

    pub(super) fn set_code_zero(&mut self, code_zero: CodeZero) {
        self.code_zero = code_zero;
    }

    pub(super) fn set_clock(&mut self, boot_epoch_ns: i64) {
        self.enricher.clock.set(boot_epoch_ns);
    }

    pub(super) fn learn_symbols(&mut self, symbols: Vec<(u64, String)>) {
        let room = SYMBOLS.saturating_sub(self.symbols.len());
        self.symbols.extend(symbols.into_iter().take(room));
    }

    pub(super) fn resume_from(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// How many records wait, and how many events no flood has told of yet; at most.
    pub(super) fn waiting(&self) -> u64 {
        let ports = self.ports.as_ref().map_or(0, PortTracker::waiting);
        let floods = self.floods.as_ref().map_or(0, Floods::waiting);
        floods.saturating_add((self.queue.len() + self.joiner.waiting() + ports) as u64)
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.enricher.clock
    }

    /// The scan to make next, if any; [`Self::scanned`] takes its outcome.
    pub(super) fn wants_scan(&mut self, now_ns: u64) -> Option<ScanRequest> {
        self.ports.as_mut()?.wants_scan(now_ns)
    }

    /// Process ids that hold served ports.
    pub(super) fn port_holders(&self) -> HashSet<u32> {
        self.ports.as_ref().map(PortTracker::holders).unwrap_or_default()
    }

    /// Changes whenever [`Self::port_holders`] may have.
    pub(super) fn port_holders_version(&self) -> (u64, u64) {
        self.ports.as_ref().map(PortTracker::version).unwrap_or_default()
    }

    /// When something that waits should be let through.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        let ports = self.ports.as_ref().and_then(PortTracker::deadline_ns);
        let floods = self.floods.as_ref().and_then(Floods::deadline_ns);
        let waits = self.joiner.deadline_ns().into_iter().chain(self.held_until_ns);
        waits.chain(ports).chain(floods).min()
    }

    /// Takes records in, in any order. An event is emitted before the next one is made where nothing waits: memory that is
    /// used again at once costs the allocator least.
    pub(super) fn records(&mut self, records: &[Bytes], now_ns: u64, emit: &mut dyn FnMut(Event)) {
        self.now_ns = now_ns;
        self.enricher.users.check();
        let read =
            records.iter().map(|record| (decode::time_ns(record), self.patterns.read(record)));
        let mut order: Vec<(u64, decode::Partial)> = read.collect();
        self.alike.forget(order.iter().filter_map(|(_, record)| record.new_pattern));
        order.sort_by_key(|(time_ns, _)| *time_ns);
        let mut ready = Vec::new();
        for (_, record) in order {
            if !self.alike(&record, now_ns, emit) {
                self.take(&record.whole(), now_ns, &mut ready);
                self.emit_ready(now_ns, emit);
            }
        }
        self.joiner.expire(now_ns, &mut ready);
        self.queue_ready(&mut ready);
        if let Some(ports) = &mut self.ports {
            let overdue = ports.overdue(now_ns, &mut self.enricher);
            self.enqueue(overdue);
        }
        self.emit_ready(now_ns, emit);
        let due = self.floods.as_mut().map(|floods| floods.due(now_ns));
        self.report_floods(due.unwrap_or_default(), emit);
    }

    /// Takes in the counts of refusals that were not told.
    pub(super) fn repeats(
        &mut self,
        counts: &[decode::RepeatCount],
        now_ns: u64,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(ports) = &mut self.ports else { return };
        let (outputs, unknown) = ports.repeats(counts, &mut self.enricher);
        self.enqueue(outputs);
        self.emit_ready(now_ns, emit);
        if unknown > 0 {
            let first_ns = counts.iter().map(|count| count.last_ns).min().unwrap_or(now_ns);
            emit(self.loss(&Loss {
                kind: "bind".to_owned(),
                count: unknown,
                span_ns: (first_ns, now_ns),
                reason: "they were counted, and what they have in common was lost".to_owned(),
                at_most: false,
            }));
        }
    }

    /// Takes in the outcome of a scan.
    pub(super) fn scanned(
        &mut self,
        outcome: Result<Box<ScanResult>, String>,
        now_ns: u64,
        emit: &mut dyn FnMut(Event),
    ) {
        self.now_ns = now_ns;
        if let Some(ports) = &mut self.ports {
            let outputs = match outcome {
                Ok(result) => ports.scanned(*result, now_ns, &mut self.enricher),
                Err(error) => {
                    tracing::warn!(error, "the scan of all descriptors failed");
                    ports.scan_failed(now_ns, &mut self.enricher)
                }
            };
            self.enqueue(outputs);
        }
        self.emit_ready(now_ns, emit);
    }

    /// Emits everything that waits.
    pub(super) fn finish(&mut self, emit: &mut dyn FnMut(Event)) {
        let mut ready = Vec::new();
        self.joiner.expire(u64::MAX, &mut ready);
        self.queue_ready(&mut ready);
        if let Some(ports) = &mut self.ports {
            let outputs = ports.flush(&mut self.enricher);
            self.enqueue(outputs);
        }
        self.emit_ready(u64::MAX, emit);
        let over = self.floods.as_mut().map(Floods::finish);
        self.report_floods(over.unwrap_or_default(), emit);
    }

    /// `ready` is empty before and after: room that is used again.
    fn take(&mut self, record: &Bytes, now_ns: u64, ready: &mut Vec<Ready>) {
        match self.decode(record) {
            Some(KernelEvent::Exit(exit)) if !self.seen.insert(exit.task.id()) => {}
            Some(KernelEvent::Bind(bind)) => {
                if let Some(ports) = &mut self.ports {
                    let outputs = ports.bind(bind, &mut self.enricher);
                    self.enqueue(outputs);
                }
            }
            Some(event) => {
                self.joiner.push(event, now_ns, ready);
                self.queue_ready(ready);
            }
            None => {}
        }
    }

    fn decode(&mut self, record: &Bytes) -> Option<KernelEvent> {
        decode::decode(record)
            .inspect_err(|error| {
                self.undecodable += 1;
                tracing::warn!(%error, "a record from the kernel side can't be decoded");
            })
            .ok()
    }

    fn queue_ready(&mut self, ready: &mut Vec<Ready>) {
        for ready in ready.drain(..) {
            match ready {
                Ready::Oom(oom, exit) => {
                    self.queue
                        .push(Queued { time_ns: oom.time_ns, output: Output::Oom(oom, exit) });
                }
                Ready::Exit(exit) => {
                    // Another processor may have seen the death a moment before the kill was noted.
                    let oom_ns = self.joiner.oom_time_ns(&exit).unwrap_or(0);
                    let death = match &mut self.ports {
                        Some(ports) => ports.exit(exit),
                        None => Some((exit, ReleasedSockets::default())),
                    };
                    if let Some((exit, released)) = death {
                        let time_ns = exit.time_ns.max(oom_ns);
                        self.queue.push(Queued { time_ns, output: Output::Death(exit, released) });
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, outputs: Vec<Output>) {
        self.queue.extend(outputs.into_iter().map(|output| {
            let time_ns = match &output {
                Output::Oom(oom, _) => oom.time_ns,
                Output::Death(exit, _) => {
                    exit.time_ns.max(self.joiner.oom_time_ns(exit).unwrap_or(0))
                }
                Output::Event(time_ns, _) => *time_ns,
            };
            Queued { time_ns, output }
        }));
    }

    fn emit_ready(&mut self, now_ns: u64, emit: &mut dyn FnMut(Event)) {
        if self.queue.is_empty() {
            return;
        }
        let bytes = || self.queue.iter().map(|queued| queued.output.bytes()).sum::<usize>();
        let has_room = self.queue.len() <= HELD && bytes() <= HELD_BYTES;
        let ports = self.ports.as_ref().filter(|_| has_room);
        let barrier = ports.and_then(|ports| ports.waits_since_ns(now_ns.saturating_sub(HOLD_NS)));
        if self.queue.len() > 1 {
            // Stable: a death before what it released.
            self.queue.sort_by_key(|queued| queued.time_ns);
        }
        let ready = match barrier {
            Some(barrier) => self.queue.partition_point(|queued| queued.time_ns < barrier),
            None => self.queue.len(),
        };
        let mut queue = std::mem::take(&mut self.queue);
        for Queued { output, .. } in queue.drain(..ready) {
            self.emit_output(output, emit);
        }
        self.queue = queue;
        let barrier = barrier.filter(|_| !self.queue.is_empty());
        self.held_until_ns = barrier.map(|barrier| barrier.saturating_add(HOLD_NS));
    }

    fn emit_output(&mut self, output: Output, emit: &mut dyn FnMut(Event)) {
        match output {
            Output::Oom(oom, exit) => emit(self.oom(&oom, exit.as_deref())),
            Output::Death(exit, released) => self.death(&exit, released, emit),
            Output::Event(time_ns, body) => self.limited(time_ns, body, false, emit),
        }
    }

    /// The first event of a run or of a file.
    pub(super) fn session(&mut self, session: SessionEvent, now_ns: u64) -> Event {
        self.numbered(now_ns, Body::Session(Box::new(session)))
    }

    /// See [`super::Engine::for_listener`].
    pub(super) fn for_listener(&self, session: SessionEvent, now_ns: u64) -> Vec<Event> {
        let serving = self.ports.as_ref().map(|ports| ports.serving(TOLD));
        let (serving, total) = serving.unwrap_or_default();
        let left_out = (total - serving.len()) as u64;
        let serving = serving.into_iter().map(|listen| Body::Listen(Box::new(listen)));
        let bodies = std::iter::once(Body::Session(Box::new(session))).chain(serving);
        let mut events: Vec<Event> = bodies.map(|body| self.unnumbered(now_ns, body)).collect();
        if left_out > 0 {
            let now = Time(self.enricher.clock.time(now_ns));
            let lost = [("listen".to_owned(), left_out)].into();
            let reason =
                format!("more than {TOLD} sockets are served: `observer ports` lists them all");
            let loss = LossEvent { lost, from: now, to: now, reason, at_most: false };
            events.push(self.unnumbered(now_ns, Body::Loss(loss)));
        }
        events
    }

    /// An incident; one that still grows is for listeners only, and has no `seq`.
    pub(super) fn incident(&mut self, incident: IncidentEvent) -> Event {
        let (time, open) = (incident.to, incident.open);
        let body = Body::Incident(Box::new(incident));
        let event = if open { self.unnumbered(0, body) } else { self.numbered(0, body) };
        Event { time, ..event }
    }
}
