//! Floods: what one origin has more of than it is worth one by one is counted, and told as `flood` events.
//!
//! An origin ([`origin`]) has a bucket for each kind: so many events at once, so many a second after that ([`bucket`]). What it
//! can't pay for is counted ([`counted`]). The newest of these is kept and told in full when the flood ends, so that each event
//! leaves once: in full with a number, or counted and without one. A flood is told every [`EVERY_NS`], and at its end.
//!
//! **Invariant:** no I/O and no clock of its own. What one user does changes nothing for another user, nor for root.
//! **Bounded:** [`ORIGINS`] buckets, and a few that those share who come when none of them is full again; a bucket, its counts
//! and its cgroup take 6 KiB at most, all of them 6 MiB. The last events that are kept take [`KEPT_BYTES`], one of them
//! [`KEPT_ONE`]; where there is no room, the last one is counted like the others. Those that end at once tell two events each,
//! for which the same bounds hold.

mod bucket;
mod counted;
mod origin;
mod weight;

use std::collections::HashMap;

use self::{
    bucket::Bucket,
    counted::Counted,
    origin::Origin,
    weight::{memory, weight},
};
use crate::model::{Body, Event, FloodEvent};

pub use self::bucket::FloodLimit;

/// Most origins that have buckets of their own.
const ORIGINS: usize = 1024;
/// How often a flood that goes on is told, in nanoseconds.
const EVERY_NS: u64 = 10_000_000_000;
/// A flood is over when nothing more of it came for so long, in nanoseconds.
const QUIET_NS: u64 = 1_500_000_000;
/// Most memory of the last events that are kept, and of one of them, in bytes.
const KEPT_BYTES: usize = 4 << 20;
const KEPT_ONE: usize = 128 << 10;
/// How long to wait before the next search for buckets that are full again, in nanoseconds.
const SEARCH_NS: u64 = 100_000_000;

/// What is to become of an event.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is told, whatever came before.
    Always,
    /// There is room for it: [`Floods::told`] takes its number.
    Told(Slot),
    /// There is none: [`Floods::count`] takes it.
    Counted(Slot),
}

/// Whom an event is counted for.
#[derive(Clone, Debug)]
pub(super) struct Slot(Origin);

/// What is told of a flood: first its last event in full, where it is over, then what was counted.
#[derive(Debug)]
pub(super) struct FloodReport {
    /// The last one, which gets a number now.
    pub(super) last: Option<Event>,
    /// What was counted since it was told last.
    pub(super) counted: Option<FloodEvent>,
    pub(super) slot: Slot,
}

/// An origin's bucket, and the flood that it runs over with.
#[derive(Debug, Default)]
struct OriginState {
    bucket: Bucket,
    /// `seq` of its last event that was told in full.
    told: Option<u64>,
    flood: Option<Box<Flood>>,
}

/// A flood that has not ended.
#[derive(Debug)]
struct Flood {
    /// Since it was told last.
    counted: Counted,
    /// The newest event, which is not counted yet, and the memory that it takes.
    kept: Option<(Event, usize)>,
    /// When it was told last, or began.
    since_ns: u64,
    /// When its newest event came.
    newest_ns: u64,
}

impl Flood {
    fn is_over(&self, now_ns: u64) -> bool {
        self.newest_ns.saturating_add(QUIET_NS) <= now_ns
    }

    fn due_ns(&self) -> u64 {
        self.newest_ns.saturating_add(QUIET_NS).min(self.since_ns.saturating_add(EVERY_NS))
    }
}

/// All floods.
#[derive(Debug)]
pub(super) struct Floods {
    limit: FloodLimit,
    origins: HashMap<Origin, OriginState>,
    kept_bytes: usize,
    /// When the next flood may have to be told: never later than one has to.
    due_ns: Option<u64>,
    /// No search for room is made before.
    search_ns: u64,
}

impl Floods {
    pub(super) fn new(limit: FloodLimit) -> Self {
        Self { limit, origins: HashMap::new(), kept_bytes: 0, due_ns: None, search_ns: 0 }
    }

    /// What is to become of an event that happened at `time_ns`. `served`: it is the death of a process that others knew by
    /// its port.
    pub(super) fn admit(
        &mut self,
        body: &Body,
        served: bool,
        time_ns: u64,
        now_ns: u64,
    ) -> Admission {
        let Some(origin) = Origin::of(body, served) else { return Admission::Always };
        let origin = self.with_room(origin, now_ns);
        let limit = origin.limit(self.limit);
        let state = self.origins.entry(origin.clone()).or_default();
        if state.bucket.takes(limit, weight(body), time_ns) {
            Admission::Told(Slot(origin))
        } else {
            Admission::Counted(Slot(origin))
        }
    }

    /// The origin itself where there is room for it, else the one that it shares with others.
    fn with_room(&mut self, origin: Origin, now_ns: u64) -> Origin {
        if self.origins.contains_key(&origin) {
            return origin;
        }
        if self.origins.len() >= ORIGINS && self.search_ns <= now_ns {
            // A bucket that is full again is as good as a new one.
            self.origins.retain(|_, state| state.flood.is_some() || !state.bucket.is_full(now_ns));
            self.search_ns = now_ns.saturating_add(SEARCH_NS);
        }
        if self.origins.len() < ORIGINS { origin } else { origin.shared() }
    }

    /// An event was told in full.
    pub(super) fn told(&mut self, slot: &Slot, seq: u64) {
        if let Some(state) = self.origins.get_mut(&slot.0) {
            state.told = Some(seq);
        }
    }

    /// Takes an event that has no number, and gives back what is counted by now: the one before it, since the newest is kept;
    /// where there is no room to keep it, itself too.
    pub(super) fn count(
        &mut self,
        slot: &Slot,
        event: Event,
        now_ns: u64,
    ) -> impl Iterator<Item = Event> {
        // It was made when the event was not admitted, and stays while its flood runs.
        let state = self.origins.entry(slot.0.clone()).or_default();
        let flood = state.flood.get_or_insert_with(|| {
            Box::new(Flood {
                counted: Counted::default(),
                kept: None,
                since_ns: now_ns,
                newest_ns: now_ns,
            })
        });
        flood.newest_ns = now_ns;
        let due_ns = flood.due_ns();
        self.due_ns = Some(self.due_ns.map_or(due_ns, |due| due.min(due_ns)));
        let before = flood.kept.take().map(|(before, bytes)| {
            self.kept_bytes -= bytes;
            before
        });
        let bytes = memory(&event.body);
        let mut itself = None;
        if bytes <= KEPT_ONE && self.kept_bytes + bytes <= KEPT_BYTES {
            self.kept_bytes += bytes;
            flood.kept = Some((event, bytes));
        } else {
            itself = Some(event);
        }
        before.iter().chain(&itself).for_each(|event| flood.counted.add(event));
        before.into_iter().chain(itself)
    }

    /// How many events no flood has told of yet; at most.
    pub(super) fn waiting(&self) -> u64 {
        if self.due_ns.is_none() {
            return 0;
        }
        let floods = self.origins.values().filter_map(|state| state.flood.as_deref());
        let waiting = |flood: &Flood| flood.counted.count() + u64::from(flood.kept.is_some());
        floods.map(waiting).fold(0, u64::saturating_add)
    }

    /// When to ask [`Self::due`].
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// What is to be told at this moment, by the beginning of each.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<FloodReport> {
        if self.due_ns.is_none_or(|due| due > now_ns) {
            return Vec::new();
        }
        let reports = self.report(now_ns, |flood| flood.is_over(now_ns));
        let running = self.origins.values().filter_map(|state| state.flood.as_deref());
        self.due_ns = running.map(Flood::due_ns).min();
        reports
    }

    /// All of them are over.
    pub(super) fn finish(&mut self) -> Vec<FloodReport> {
        self.due_ns = None;
        self.report(0, |_| true)
    }

    fn report(&mut self, now_ns: u64, is_over: impl Fn(&Flood) -> bool) -> Vec<FloodReport> {
        let mut reports = Vec::new();
        for (origin, state) in &mut self.origins {
            let Some(flood) = state.flood.as_deref_mut() else { continue };
            let is_over = is_over(flood);
            if !is_over && flood.due_ns() > now_ns {
                continue;
            }
            flood.since_ns = now_ns;
            let counted = std::mem::take(&mut flood.counted).event(origin, state.told);
            let mut last = None;
            if is_over {
                if let Some((event, bytes)) = flood.kept.take() {
                    self.kept_bytes -= bytes;
                    last = Some(event);
                }
                state.flood = None;
            }
            reports.push(FloodReport { last, counted, slot: Slot(origin.clone()) });
        }
        // The order of a hash table is chance.
        reports.sort_by_cached_key(|report| {
            let last = report.last.as_ref().map(|event| event.time);
            (report.counted.as_ref().map(|flood| flood.from).or(last), report.slot.0.clone())
        });
        reports
    }
}

#[cfg(test)]
mod tests;
