//! What the kernel side could not deliver: asked for after each drain.

use std::collections::BTreeMap;

use anyhow::Result;
use observer_common::loss::{SLOTS, lost_kind};

use crate::kernel::{Kernel, loss::Loss};

/// How long the counts of skipped programs are left alone: they can only be had as text, which a storm has no time for.
const COUNT_NS: u64 = 1_000_000_000;

/// What was already emitted.
#[derive(Default)]
pub(super) struct Losses {
    since_ns: u64,
    lost: [u64; SLOTS as usize],
    skipped: BTreeMap<&'static str, u64>,
    /// When the skipped ones were counted last.
    counted_ns: u64,
    /// And when they will be, although nothing comes.
    due_ns: Option<u64>,
}

impl Losses {
    /// Nothing was watched before.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.since_ns = now_ns;
        self.counted_ns = now_ns;
    }

    /// Which were told, a count for each slot.
    pub(super) fn told(&self) -> &[u64; SLOTS as usize] {
        &self.lost
    }

    /// When [`Self::found`] should be called although nothing came.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// What was lost since the last time; at the `end`, whatever that costs.
    pub(super) fn found(&mut self, kernel: &Kernel, now_ns: u64, end: bool) -> Result<Vec<Loss>> {
        let mut found = Vec::new();
        let mut loss = |kind: &str, count, since_ns, reason: &str, at_most| {
            let (kind, reason, span_ns) = (kind.to_owned(), reason.to_owned(), (since_ns, now_ns));
            found.push(Loss { kind, count, span_ns, reason, at_most });
        };
        let lost = kernel.lost()?;
        for (slot, (count, known)) in (0..SLOTS).zip(lost.iter().zip(&mut self.lost)) {
            if *count > *known {
                let kind = lost_kind(slot);
                let reason = match kind {
                    "signal" => "the kernel had no room for the sender of a signal",
                    _ => "the ring was full: they came faster than they could be written out",
                };
                loss(kind, *count - *known, self.since_ns, reason, false);
                *known = *count;
            }
        }
        self.since_ns = now_ns;
        let due_ns = self.counted_ns.saturating_add(COUNT_NS);
        if !end && now_ns < due_ns {
            self.due_ns = Some(due_ns);
            return Ok(found);
        }
        for (kind, skipped) in kernel.skipped() {
            let known = self.skipped.insert(kind, skipped).unwrap_or(0);
            if skipped > known {
                let reason =
                    "the kernel skipped the program while another thread was preempted inside it";
                loss(kind, skipped - known, self.counted_ns, reason, true);
            }
        }
        self.counted_ns = now_ns;
        self.due_ns = None;
        Ok(found)
    }
}
