//! Takes over from the run before: what its rings hold, what it had in hand, and what it lost and had not told.
//!
//! The new programs are attached beside the old ones, and only then the old rings are read for the last time: every record is in
//! one of the two, and some are in both. Of a death seen twice the pipeline drops the second, which is the newer program's: only
//! the older has all of its notes. Of other records the newer is dropped here.
//!
//! **Bounded:** [`HELD_BYTES`] of records; what comes beyond is counted as lost. Nothing later than the moment of the last look is
//! read, so that a storm does not keep this going.

use std::{collections::HashMap, os::fd::AsFd as _, sync::Arc};

use bytes::Bytes;
use observer_common::{
    header::{ABI, Header, KIND_BIND, KIND_EXIT, KIND_EXIT_LIKE, KIND_OOM},
    loss::{SLOTS, lost_kind},
    socket::BindRecord,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::Live;
use crate::{
    decode::{self, KernelEvent, Patterns},
    kernel::{
        Kernel, clock,
        handover::{
            self, Handover, KeptPart, Remains,
            ledger::{Ledger, LeftLedger},
        },
        loss::Loss,
    },
    model::{After, Time},
};

/// Most bytes that are held until the engine takes them: rings of 2 MiB, and what comes while programs are loaded.
const HELD_BYTES: usize = 16 << 20;
/// How much later than its time a record may be put into its ring, in nanoseconds: by then others may stand before it.
const LATE_NS: u64 = 10_000_000;
/// How long the new rings may hold a record that the old ones had too, in nanoseconds.
const DOUBLES_NS: u64 = 10_000_000_000;

const FULL: &str = "the ring was full: they came faster than they could be written out";
const TOO_MANY: &str = "the rings of the run before held too many";
const IN_HAND: &str = "the run before had taken them out of the rings when it was killed";
const UNWRITTEN: &str = "the run before was killed before they were in the store";
const COUNTED: &str = "the same was refused again between two runs, and only counted";
const OTHER_VERSION: &str = "another version of observer had written them";

impl Live {
    /// Numbers that the run before gave are not given again, whether it stored them or not.
    pub(super) fn after_all_numbers(&mut self, after: Option<After>) -> Option<After> {
        let given = self.taken.as_ref().map_or(0, |taken| taken.seq);
        let after = after.map(|after| After { seq: after.seq.max(given), ..after });
        if let Some(after) = &after {
            self.engine.resume_from(after.seq);
        }
        after
    }

    /// Whether the programs of a run before went on, and when it had read its rings last.
    pub(super) fn resumed(&self) -> (bool, Option<Time>) {
        let Some(taken) = &self.taken else { return (false, None) };
        let time = |since_ns| Time(self.engine.clock().time(since_ns));
        (taken.resumed, taken.since_ns.map(time))
    }

    /// The next number is the first of this run.
    pub(super) fn begin_ledger(&self) {
        if let Some(ledger) = &self.ledger {
            ledger.begin(self.engine.seq(), clock::boot_ns());
        }
    }

    /// All that was emitted was given to the store: the next run need not count it as lost.
    pub fn settle(&self) {
        if let Some(ledger) = &self.ledger {
            let waiting = self.engine.waiting() + self.backlog.len() as u64;
            let (seq, told) = (self.engine.seq(), self.losses.told());
            ledger.settle(waiting, seq, clock::boot_ns(), told, self.refusals.known());
        }
    }
}

/// What the run before left, while programs are loaded.
pub(super) struct Takeover {
    handover: Handover,
    remains: Vec<(Remains, Patterns)>,
    run: u64,
    ledger: Option<Arc<Ledger>>,
    began_ns: u64,
    records: Vec<Bytes>,
    bytes: usize,
    too_many: u64,
    foreign: u64,
}

/// What was taken over.
pub(super) struct TakenOver {
    /// Counts of this run, for the next.
    pub(super) ledger: Option<Arc<Ledger>>,
    /// There was a run before, whose programs went on.
    pub(super) resumed: bool,
    /// When it had read its rings last.
    pub(super) since_ns: Option<u64>,
    /// The last number that it gave, if that is not in the store; or 0.
    pub(super) seq: u64,
    pub(super) records: Vec<Bytes>,
    pub(super) losses: Vec<Loss>,
    pub(super) doubles: Doubles,
}

impl Takeover {
    /// Empties the old rings, so that they have room until the new programs are attached.
    pub(super) fn begin(handover: Handover) -> Self {
        let mut handover = handover;
        let remains = handover::sort(std::mem::take(&mut handover.given));
        let run = handover::next_run(&remains);
        let ledger = Ledger::create()
            .inspect_err(|error| tracing::warn!(%error, "the next run will not know this one"));
        let ledger = ledger.ok().map(Arc::new);
        if let Some(ledger) = &ledger {
            // The manager has it before anything is counted in it.
            (handover.keep)(&handover::name(run, KeptPart::Ledger), &[ledger.as_fd()]);
        }
        let with_patterns = |remains: Remains| {
            let mut patterns = Patterns::default();
            let known = remains.ledger.iter().flat_map(LeftLedger::patterns);
            known.for_each(|record| drop(patterns.read(&record)));
            (remains, patterns)
        };
        let remains = remains.into_iter().map(with_patterns).collect();
        let began_ns = clock::boot_ns();
        let (records, bytes, too_many, foreign) = (Vec::new(), 0, 0, 0);
        let mut takeover =
            Self { handover, remains, run, ledger, began_ns, records, bytes, too_many, foreign };
        takeover.drain(began_ns);
        takeover
    }

    /// Once the new programs are attached: the last look at the old rings, after which the manager forgets them.
    pub(super) fn finish(mut self, kernel: &mut Kernel) -> TakenOver {
        kernel.hand_over(self.run, self.handover.keep);
        for (remains, _) in &mut self.remains {
            if let Err(error) = kernel.adopt(remains) {
                tracing::warn!("signals sent before this start may have no sender: {error:#}");
            }
        }
        // What began before the new programs were attached is in the old rings then.
        handover::wait_for_running_programs();
        let now_ns = clock::boot_ns();
        self.drain(now_ns);
        let doubles = Doubles::of(&self.records, self.began_ns, now_ns + LATE_NS);
        let resumed = self.remains.iter().any(|(remains, _)| !remains.rings.is_empty());
        let (since_ns, seq, losses) = self.account(now_ns);
        if let Some(ledger) = &self.ledger {
            // Should this run be killed before it has told them.
            ledger.take_over(losses.iter().map(|loss| loss.count).sum());
        }
        for (remains, _) in self.remains {
            remains.forget(self.handover.forget);
        }
        let (ledger, records) = (self.ledger, self.records);
        TakenOver { ledger, resumed, since_ns, seq, records, losses, doubles }
    }

    /// When the rings were read last, the last number that was given, and what is missing.
    fn account(&mut self, now_ns: u64) -> (Option<u64>, u64, Vec<Loss>) {
        let ledgers = || self.remains.iter().filter_map(|(remains, _)| remains.ledger.as_ref());
        let since_ns = ledgers().map(LeftLedger::read_ns).filter(|read_ns| *read_ns > 0).max();
        let span_ns = (since_ns.unwrap_or(self.began_ns), now_ns);
        let mut losses = Account { span_ns, found: Vec::new() };
        let (mut seq, mut in_hand) = (0, 0);
        for ledger in ledgers() {
            let (first, last) = ledger.numbers();
            // Another store, or none: its numbers have nothing to do with these.
            let stored = self.handover.stored.filter(|stored| *stored + 1 >= first);
            in_hand += ledger.in_hand();
            if let Some(stored) = stored.filter(|stored| *stored < last) {
                losses.add("unknown", last - stored, UNWRITTEN, false);
                seq = seq.max(last);
            }
        }
        losses.add("unknown", in_hand, IN_HAND, true);
        losses.add("unknown", self.too_many, TOO_MANY, false);
        losses.add("unknown", self.foreign, OTHER_VERSION, false);
        for (remains, _) in &mut self.remains {
            let (lost, counted) = (remains.lost(), remains.refusals());
            let (Some(lost), Some(ledger)) = (lost, &remains.ledger) else { continue };
            for (slot, (lost, told)) in (0..SLOTS).zip(lost.iter().zip(ledger.told())) {
                losses.add(lost_kind(slot), lost.saturating_sub(*told), FULL, false);
            }
            let counted = counted.unwrap_or(0).saturating_sub(ledger.refusals());
            losses.add("bind", counted, COUNTED, true);
        }
        (since_ns, seq, losses.found)
    }

    /// Takes records up to that moment out of the old rings, and some after it. Later ones are in the new rings.
    fn drain(&mut self, until_ns: u64) {
        for (remains, patterns) in &mut self.remains {
            for ring in &mut remains.rings {
                while let Some(item) = ring.next() {
                    let record = Bytes::copy_from_slice(&item);
                    if decode::time_ns(&record) > until_ns.saturating_add(LATE_NS) {
                        // It stays where it is: an item that is dropped would be taken.
                        std::mem::forget(item);
                        break;
                    }
                    if let Some(ledger) = &self.ledger {
                        ledger.take_over(1);
                    }
                    drop(item);
                    if !is_ours(&record) {
                        self.foreign += 1;
                    } else if self.bytes > HELD_BYTES {
                        self.too_many += 1;
                    } else {
                        // Whole, since the patterns are not those of the new programs.
                        let whole = uncounted(patterns.read(&record).whole().into_owned());
                        self.bytes += whole.len();
                        self.records.push(whole);
                    }
                }
            }
        }
    }
}

/// What is missing of one span.
struct Account {
    span_ns: (u64, u64),
    found: Vec<Loss>,
}

impl Account {
    fn add(&mut self, kind: &str, count: u64, reason: &str, at_most: bool) {
        if count > 0 {
            let (kind, reason, span_ns) = (kind.to_owned(), reason.to_owned(), self.span_ns);
            self.found.push(Loss { kind, count, span_ns, reason, at_most });
        }
    }
}

/// Whether programs with the layouts of ours wrote it.
fn is_ours(record: &Bytes) -> bool {
    Header::read_from_prefix(record).is_ok_and(|(header, _)| header.abi == ABI)
}

/// A refusal without the count of those before it: others of the same key were told by the run before.
fn uncounted(record: Bytes) -> Bytes {
    match BindRecord::read_from_prefix(&record) {
        Ok((bind, rest)) if bind.header.kind == KIND_BIND && bind.counted > 0 => {
            [BindRecord { counted: 0, ..bind }.as_bytes(), rest].concat().into()
        }
        _ => record,
    }
}

/// What was in the old rings while the new programs were attached too, other than deaths.
#[derive(Default)]
pub(super) struct Doubles {
    until_ns: u64,
    old: HashMap<Bytes, u32>,
}

impl Doubles {
    fn of(records: &[Bytes], from_ns: u64, until_ns: u64) -> Self {
        let mut old = HashMap::new();
        for record in records.iter().filter(|record| decode::time_ns(record) >= from_ns) {
            if let Some(identity) = identity(record) {
                *old.entry(identity).or_default() += 1;
            }
        }
        Self { until_ns, old }
    }

    /// Leaves out what the old rings had too.
    pub(super) fn remove_from(&mut self, records: &mut Vec<Bytes>, now_ns: u64) {
        if self.old.is_empty() {
            return;
        }
        let until_ns = self.until_ns;
        records.retain(|record| {
            let known = (decode::time_ns(record) <= until_ns).then(|| identity(record)).flatten();
            match known.and_then(|identity| self.old.get_mut(&identity)) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    false
                }
                _ => true,
            }
        });
        if now_ns > self.until_ns.saturating_add(DOUBLES_NS) {
            self.old = HashMap::new();
        }
    }
}

/// What two programs report alike of one event; `None` for a death, which the pipeline knows by its process.
fn identity(record: &Bytes) -> Option<Bytes> {
    let (header, _) = Header::read_from_prefix(record).ok()?;
    match header.kind {
        KIND_EXIT | KIND_EXIT_LIKE => None,
        // The figures may have changed meanwhile, the victim has not.
        KIND_OOM => match decode::decode(record).ok()? {
            KernelEvent::Oom(oom) => {
                let victim = oom.victim.id();
                let id = [victim.start_ns.to_ne_bytes(), u64::from(victim.tgid).to_ne_bytes()];
                Some(Bytes::copy_from_slice(id.as_flattened()))
            }
            _ => None,
        },
        _ => {
            let record = uncounted(record.clone());
            Some(record.slice(size_of::<Header>().min(record.len())..))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::samples::{DEATH, exit, exit_bytes, oom, oom_bytes, refused_bytes};

    #[test]
    fn a_refusal_and_an_oom_kill_are_told_once_and_deaths_are_left_to_the_pipeline() {
        let refused = refused_bytes(7, DEATH);
        let old = [refused.clone(), oom_bytes(&oom(9, 8)), exit_bytes(&exit(9, 9))];
        let mut doubles = Doubles::of(&old, 0, u64::MAX / 2);
        let mut seen =
            vec![exit_bytes(&exit(9, 9)), refused.clone(), refused, oom_bytes(&oom(9, 8))];
        doubles.remove_from(&mut seen, DEATH);
        // The same refusal again is another one.
        assert_eq!(seen, [exit_bytes(&exit(9, 9)), refused_bytes(7, DEATH)]);
        let mut later = vec![refused_bytes(7, DEATH)];
        doubles.remove_from(&mut later, DEATH);
        assert_eq!(later.len(), 1);
    }

    #[test]
    fn what_came_before_the_new_programs_or_after_the_old_is_no_double() {
        let refused = refused_bytes(7, DEATH);
        let time_ns = decode::time_ns(&refused);
        for (from_ns, until_ns) in [(time_ns + 1, u64::MAX / 2), (0, time_ns - 1)] {
            let mut doubles = Doubles::of(std::slice::from_ref(&refused), from_ns, until_ns);
            let mut seen = vec![refused.clone()];
            doubles.remove_from(&mut seen, DEATH);
            assert_eq!(seen.len(), 1);
        }
    }
}
