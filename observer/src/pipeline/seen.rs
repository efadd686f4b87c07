//! Each death once.

use std::collections::{HashSet, VecDeque};

use crate::decode::TaskId;

/// Deaths that were taken in lately: two exit programs may see the same one, and before Linux 6.16 two threads may both
/// look like the last.
#[derive(Default)]
pub(super) struct Seen {
    set: HashSet<TaskId>,
    order: VecDeque<TaskId>,
}

impl Seen {
    /// Doubles are microseconds apart; on a preemptible kernel, as far as a thread waits for a processor: a quarter of a second
    /// of the fastest storm.
    const KEPT: usize = 4096;

    /// False when it was seen before.
    pub(super) fn insert(&mut self, id: TaskId) -> bool {
        if !self.set.insert(id) {
            return false;
        }
        if self.order.len() == Self::KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        self.order.push_back(id);
        true
    }
}
