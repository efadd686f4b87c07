//! Incidents: which events belong together, and what they say as a whole.
//!
//! [`incidents`] goes over all stored events; [`Incidents`] does the same while events come. Both are one machine that takes
//! events by their time: each waits [`SETTLE`] seconds for earlier ones that come late, so that the order in which they come
//! does not decide what is emitted.
//!
//! **Invariant:** no I/O and no clock of its own.
//! **Bounded:** [`CASES`] open incidents with [`KEPT`] parts in all, [`PENDING`] waiting events, [`PAST`] past deaths, refusals and
//! losses each; [`lean`] bounds an event.

mod case;
mod deaths;
mod in_order;
mod keys;
mod lean;
mod narrate;
mod origin;
mod outage;
pub mod ownership;
mod places;
mod ports;
mod step;
mod weigh;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use case::{Case, Origin};
use in_order::InOrder;
use keys::after;
use places::PlaceIndex;
use ports::{Outage, ServedPorts};

use crate::model::{Body, Event, IncidentEvent, Kind, Time};

/// How long an event waits for earlier ones that come late, in seconds.
const SETTLE: i64 = 2;
/// How long another server may take to replace a released one before that opens an incident, in seconds.
const MOMENT: i64 = 5;
/// Most open incidents; the one that was quiet for longest is flushed first.
const CASES: usize = 256;
/// Most parts of all open incidents, such as deaths and refusals: the one that has most is flushed first. About 2 KiB each.
const KEPT: usize = 4096;
/// Most events that wait: a tenth of a second of a storm. Four times as many made the service 8 MiB larger, for good.
const PENDING: usize = 1024;
/// Most deaths, refusals and losses, each, that are remembered for incidents that begin later.
const PAST: usize = 1024;
/// Most times that a growing incident is emitted, its end left aside.
const EMITTED: u32 = 16;

/// What identifies an event.
type EventKey = (Time, u64, Kind);

/// All incidents of these events, by the time of their first event. The events may come in any order, more than once, with
/// gaps, and from several runs, boots and hosts. An incident that is open at the last event says so.
#[must_use]
pub fn incidents(events: &[Event]) -> Vec<IncidentEvent> {
    let mut boots: BTreeMap<(&str, &str), BTreeMap<EventKey, &Event>> = BTreeMap::new();
    for event in events {
        let boot = boots.entry((&*event.host, &*event.boot_id)).or_default();
        boot.entry((event.time, event.number(), event.body.kind())).or_insert(event);
    }
    let mut emitted = Vec::new();
    for boot in boots.into_values() {
        let mut incidents = Incidents::looking_back();
        for event in boot.into_values() {
            emitted.extend(incidents.push(event).into_iter().filter(|incident| !incident.open));
        }
        emitted.extend(incidents.finish());
    }
    emitted.sort_by(|a, b| (a.from, &a.events, &a.subject).cmp(&(b.from, &b.events, &b.subject)));
    emitted
}

/// What is served at the last event, as far as the events show: the `listen` events that no release followed, of the newest
/// boot.
#[must_use]
pub fn served(events: &[Event]) -> Vec<&Event> {
    let Some(newest) = events.iter().max_by_key(|event| event.time) else { return Vec::new() };
    let mut boot: BTreeMap<EventKey, &Event> = BTreeMap::new();
    for event in events.iter().filter(|event| event.boot_id == newest.boot_id) {
        boot.entry((event.time, event.number(), event.body.kind())).or_insert(event);
    }
    let mut ports = ServedPorts::default();
    for event in boot.values() {
        match &event.body {
            Body::Session(session) if session.begins_run(event.number()) => ports.clear(),
            Body::Listen(listen) => {
                ports.listen(listen, event.time, event.number());
            }
            Body::Release(release) => {
                ports.release(&release.socket, &[], release.process.as_ref(), event.time);
            }
            Body::Exit(exit) => {
                for socket in &exit.released {
                    ports.release(socket, &exit.released, Some(&exit.process), event.time);
                }
            }
            _ => {}
        }
    }
    let here = |time, seq| ports.all().any(|served| (served.time, served.seq) == (time, seq));
    boot.into_iter()
        .filter(|((time, seq, kind), _)| *kind == Kind::Listen && here(*time, *seq))
        .map(|(_, event)| event)
        .collect()
}

/// Incidents while they happen. Memory is bounded, whatever comes.
#[derive(Debug)]
pub struct Incidents {
    boot: Option<Arc<str>>,
    pending: InOrder<EventKey, Arc<Event>>,
    /// What was taken in lately, so that nothing counts twice.
    seen: InOrder<EventKey, ()>,
    /// Time of the newest event.
    newest: Option<Time>,
    /// Everything up to this moment has been taken in.
    now: Option<Time>,
    /// When this run of the observer began.
    run: Option<Time>,
    ports: ServedPorts,
    /// Releases that another server may still replace.
    waiting: PlaceIndex<Outage>,
    cases: Vec<Case>,
    dead: VecDeque<Arc<Event>>,
    refused: VecDeque<(Arc<Event>, Vec<Origin>)>,
    losses: VecDeque<Arc<Event>>,
    out: Vec<IncidentEvent>,
    /// Only the end of an incident is wanted.
    quiet: bool,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            boot: None,
            pending: InOrder::default(),
            seen: InOrder::default(),
            newest: None,
            now: None,
            run: None,
            ports: ServedPorts::default(),
            waiting: PlaceIndex::new(PAST),
            cases: Vec::new(),
            dead: VecDeque::new(),
            refused: VecDeque::new(),
            losses: VecDeque::new(),
            out: Vec::new(),
            quiet: false,
        }
    }
}

impl Incidents {
    /// For stored events: an incident is emitted only at its end.
    #[must_use]
    pub fn looking_back() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// Takes an event in. An incident comes out when it opens, when it grows in a way that matters to a reader, and, with
    /// `open: false`, when it closes. Events of kinds `incident` and `flood` are skipped.
    pub fn push(&mut self, event: &Event) -> Vec<IncidentEvent> {
        if matches!(event.body, Body::Incident(_) | Body::Flood(_)) {
            return Vec::new();
        }
        if self.boot.as_ref().is_some_and(|boot| *boot != event.boot_id) {
            let ended = self.finish();
            *self = Self { quiet: self.quiet, out: ended, ..Self::default() };
        }
        self.boot = Some(event.boot_id.clone());
        let key = (event.time, event.number(), event.body.kind());
        if !self.seen.contains(&key) {
            self.pending.insert(key, || lean::lean(event));
        }
        let newest = self.newest.map_or(event.time, |newest| newest.max(event.time));
        self.newest = Some(newest);
        self.settle(after(newest, -SETTLE));
        std::mem::take(&mut self.out)
    }

    /// Lets time pass: closes incidents that were quiet long enough.
    pub fn tick(&mut self, now: Time) -> Vec<IncidentEvent> {
        self.settle(after(now, -SETTLE));
        std::mem::take(&mut self.out)
    }

    /// When [`Self::tick`] should be called although nothing came.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let pending = self.pending.first().map(|(time, ..)| *time);
        let due = self.due().map(|(time, _)| time);
        // What is due at a moment happens once that moment is over.
        let ask = self.cases.iter().filter_map(Case::ask).min();
        pending.into_iter().chain(due).chain(ask).min().map(|time| after(time, SETTLE + 1))
    }

    /// Takes in what still waits, and emits every incident that has not closed, as it stands at the newest event.
    pub fn finish(&mut self) -> Vec<IncidentEvent> {
        if let Some(newest) = self.newest {
            self.settle(newest);
        }
        let now = self.now.into_iter().chain(self.newest).max();
        let mut emitted = std::mem::take(&mut self.out);
        emitted.retain(|incident| !incident.open);
        let cases = std::mem::take(&mut self.cases);
        emitted.extend(now.into_iter().flat_map(|now| {
            cases.iter().map(move |case| narrate::incident(case, now)).collect::<Vec<_>>()
        }));
        emitted
    }

    /// Takes in everything up to a moment, by time.
    fn settle(&mut self, horizon: Time) {
        while let Some((first, ..)) = self.pending.first() {
            if *first > horizon && self.pending.len() <= PENDING {
                break;
            }
            let Some((key, event)) = self.pending.pop_first() else { break };
            self.advance(event.time);
            if self.seen.len() >= PENDING {
                self.seen.pop_first();
            }
            self.seen.insert(key, || ());
            self.step(&event);
        }
        self.advance(horizon);
        self.flush_largest();
        self.emit();
    }

    /// What is due next, and whether it is the end of an incident or of a moment.
    fn due(&self) -> Option<(Time, bool)> {
        // They came in the order of their times.
        let first = self.waiting.first().map(|(_, outage)| outage);
        let moments = first.map(|outage| (after(outage.began, MOMENT), false)).into_iter();
        let ends = self.cases.iter().filter_map(Case::closes).map(|time| (time, true));
        moments.chain(ends).min()
    }

    fn advance(&mut self, now: Time) {
        while let Some((due, is_end)) = self.due().filter(|(due, _)| *due < now) {
            if is_end {
                let ends = |case: &Case| case.closes().is_some_and(|closes| closes <= due);
                while let Some(at) = self.cases.iter().position(ends) {
                    let case = self.cases.remove(at);
                    self.out.push(narrate::incident(&case, after(due, 1)));
                }
            } else {
                self.outages_due(due);
            }
        }
        self.now = Some(self.now.map_or(now, |then| then.max(now)));
    }

    /// Emits the incidents that changed in a way that matters to a reader.
    fn emit(&mut self) {
        let Some(now) = self.now.filter(|_| !self.quiet) else { return };
        for case in self.cases.iter_mut().filter(|case| case.changed) {
            if case.ask().is_none_or(|ask| ask > now) {
                continue;
            }
            case.changed = false;
            case.asked = Some(now);
            if case.times_emitted >= EMITTED {
                continue;
            }
            let gist = narrate::gist(case);
            if case.emitted.as_ref() != Some(&gist) {
                case.emitted = Some(gist);
                case.times_emitted += 1;
                self.out.push(narrate::incident(case, now));
            }
        }
    }

    /// Keeps what open incidents are made of within bounds.
    fn flush_largest(&mut self) {
        while self.cases.iter().map(Case::parts).sum::<usize>() > KEPT {
            let largest = self.cases.iter().enumerate().max_by_key(|(_, case)| case.parts());
            let Some(at) = largest.map(|(at, _)| at) else { break };
            self.flush(at);
        }
    }

    /// Emits an incident before its end.
    fn flush(&mut self, at: usize) {
        let mut case = self.cases.remove(at);
        case.dropped = true;
        let now = self.now.unwrap_or(case.last);
        self.out.push(narrate::incident(&case, now));
    }

    /// Keeps the number of open incidents within bounds.
    fn make_room(&mut self) {
        if self.cases.len() < CASES {
            return;
        }
        let quiet = self.cases.iter().enumerate().min_by_key(|(_, case)| case.last);
        if let Some(at) = quiet.map(|(at, _)| at) {
            self.flush(at);
        }
    }
}

#[cfg(test)]
mod tests;
