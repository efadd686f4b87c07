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
    /// Doubles are microseconds apart, in one ring.
    const KEPT: usize = 1024;

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
