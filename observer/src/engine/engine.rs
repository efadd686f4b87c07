//! The engine behind one door: [`Engine::push`] an input, get events.
//!
//! **Invariant:** no I/O and no clock of its own; see [`super`].
//! **Bounded:** by its parts: what waits ([`super::pipeline`]), what is remembered of ports and incidents ([`crate::diagnose`]).

use std::collections::HashSet;

use super::{
    CodeZero, FloodLimit, Input,
    pipeline::{Pipeline, PortTracker},
    scan::ScanRequest,
};
use crate::{
    diagnose::incident::Incidents,
    enrich::{Enricher, Users},
    kernel::{clock::Clock, host::Host},
    model::{Body, Event, IncidentEvent, LossEvent, SessionEvent, Time},
};

/// What an engine begins with.
#[derive(Debug)]
pub struct Setup {
    /// The machine.
    pub host: Host,
    /// Its clock.
    pub clock: Clock,
    /// Names of its users.
    pub users: Users,
    /// What becomes of deaths with code 0.
    pub code_zero: CodeZero,
    /// Ports are watched; true where only scans show where listeners begin and end.
    pub ports: Option<bool>,
    /// Beyond it, events of one origin are counted; `None`: each is told.
    pub flood: Option<FloodLimit>,
}

/// Turns inputs into events.
pub struct Engine {
    pipeline: Pipeline,
    incidents: Incidents,
    /// Holders of served ports: their deaths matter whatever the exit code.
    watched: HashSet<u32>,
    /// What they were worked out from.
    watched_version: (u64, u64),
    /// When records were pushed last, in nanoseconds of `CLOCK_BOOTTIME`.
    drained_ns: u64,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let enricher = Enricher::new(setup.users, setup.clock);
        let ports = setup.ports.map(PortTracker::new);
        Self {
            pipeline: Pipeline::new(setup.host, enricher, setup.code_zero, ports, setup.flood),
            incidents: Incidents::default(),
            watched: HashSet::new(),
            watched_version: (0, 0),
            drained_ns: 0,
        }
    }

    /// Takes an input in; `emit` gets the events that are ready, in the order of their times. `now_ns`: nanoseconds of
    /// `CLOCK_BOOTTIME`, never less than before.
    pub fn push(&mut self, now_ns: u64, input: Input, mut emit: impl FnMut(Event)) {
        let (incidents, watched) = (&mut self.incidents, &self.watched);
        let mut grown = Vec::new();
        let mut observe = |event: Event| {
            if is_evidence(&event, watched) {
                grown.extend(incidents.push(&event));
            }
            emit(event);
        };
        match input {
            Input::Clock(boot_epoch_ns) => self.pipeline.set_clock(boot_epoch_ns),
            Input::Symbols(symbols) => self.pipeline.learn_symbols(symbols),
            Input::Records(records) => {
                self.pipeline.records(&records, now_ns, &mut observe);
                let span_ns = (self.drained_ns, now_ns);
                self.drained_ns = now_ns;
                self.pipeline.undecodable(span_ns).into_iter().for_each(&mut observe);
            }
            Input::Tick => self.pipeline.records(&[], now_ns, &mut observe),
            Input::Repeats(counts) => self.pipeline.repeats(&counts, now_ns, &mut observe),
            Input::Scan(outcome) => self.pipeline.scanned(outcome, now_ns, &mut observe),
            Input::Loss(loss) => observe(self.pipeline.loss(&loss)),
        }
        let now = Time(self.pipeline.clock().time(now_ns));
        if self.incidents.deadline().is_some_and(|deadline| deadline <= now) {
            grown.extend(self.incidents.tick(now));
        }
        for incident in grown {
            emit(self.pipeline.incident(incident));
        }
        let version = self.pipeline.port_holders_version();
        if version != self.watched_version {
            self.watched_version = version;
            self.watched = self.pipeline.port_holders();
        }
    }

    /// The scan to make next, if any: its outcome is an [`Input::Scan`].
    pub fn wants_scan(&mut self, now_ns: u64) -> Option<ScanRequest> {
        self.pipeline.wants_scan(now_ns)
    }

    /// When to push although nothing came, in nanoseconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let incidents = self.incidents.deadline().map(|time| self.pipeline.clock().boot_ns(time.0));
        self.pipeline.deadline_ns().into_iter().chain(incidents).min()
    }

    /// What waits is emitted as it is, and incidents that have ended.
    pub fn finish(&mut self, mut emit: impl FnMut(Event)) {
        let mut ended = Vec::new();
        let (incidents, watched) = (&mut self.incidents, &self.watched);
        self.pipeline.finish(&mut |event| {
            if is_evidence(&event, watched) {
                ended.extend(incidents.push(&event));
            }
            emit(event);
        });
        ended.extend(self.incidents.finish());
        // One that is still open is not emitted as if it were over: `why` finds it in its events.
        let over = |incident: &IncidentEvent| !incident.open;
        for incident in ended.into_iter().filter(over) {
            emit(self.pipeline.incident(incident));
        }
    }

    /// The first event of a run or of a file.
    pub fn session(&mut self, session: SessionEvent, now_ns: u64) -> Event {
        self.drained_ns = self.drained_ns.max(now_ns);
        self.pipeline.session(session, now_ns)
    }

    /// For a client that joins: the session, and who serves what by now. They are not in the store, and have no `seq`.
    #[must_use]
    pub fn for_listener(&self, session: SessionEvent, now_ns: u64) -> Vec<Event> {
        self.pipeline.for_listener(session, now_ns)
    }

    /// An event about what was lost behind the engine.
    pub fn lost(&mut self, loss: LossEvent) -> Event {
        self.pipeline.lost(loss)
    }

    /// The first event that has a `seq` gets the one after this.
    pub fn resume_from(&mut self, seq: u64) {
        self.pipeline.resume_from(seq);
    }

    /// The last `seq` that was given.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.pipeline.seq()
    }

    /// How many records were taken in and are in no event that was emitted; at most.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.pipeline.waiting()
    }

    /// What becomes of deaths with code 0 from now on.
    pub fn set_code_zero(&mut self, code_zero: CodeZero) {
        self.pipeline.set_code_zero(code_zero);
    }

    /// Process ids whose deaths the kernel side must report whatever the exit code.
    #[must_use]
    pub fn watched(&self) -> &HashSet<u32> {
        &self.watched
    }

    /// Changes whenever [`Self::watched`] may have.
    #[must_use]
    pub fn watched_version(&self) -> (u64, u64) {
        self.watched_version
    }

    /// The clock that events are dated by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.pipeline.clock()
    }
}

/// Whether incidents are made of it. What is not stored can't be evidence; nor are orderly deaths, unless they released a
/// port or were watched: `--all` changes no incident.
fn is_evidence(event: &Event, watched: &HashSet<u32>) -> bool {
    let orderly = match &event.body {
        Body::Exit(exit) => {
            exit.status.code == Some(0)
                && exit.released.is_empty()
                && !watched.contains(&exit.process.pid)
        }
        _ => false,
    };
    event.seq.is_some() && !orderly
}

#[cfg(test)]
mod tests;
