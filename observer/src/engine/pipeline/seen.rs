//! Each death once.

use crate::decode::TaskId;

/// Deaths that were taken in lately: two exit programs may see the same one, and before Linux 6.16 two threads may both
/// look like the last. Each has the place of its process id: ids are dealt out in turn, so those of a storm lie side by side.
pub(super) struct Seen(Box<[Option<TaskId>]>);

impl Seen {
    /// Doubles are microseconds apart; on a preemptible kernel, as far as a thread waits for a processor: half a second of the
    /// fastest storm goes by before an id has the place of an earlier one.
    const PLACES: usize = 8192;

    /// False when it was seen before.
    pub(super) fn insert(&mut self, id: TaskId) -> bool {
        let place = &mut self.0[id.tgid as usize % Self::PLACES];
        place.replace(id) != Some(id)
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self(vec![None; Self::PLACES].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_new_once_and_its_neighbours_stay_known() {
        let id = |tgid, start_ns| TaskId { tgid, start_ns };
        let mut seen = Seen::default();
        assert!((1..=8192).all(|pid| seen.insert(id(pid, 5))));
        assert!(!(1..=8192).any(|pid| seen.insert(id(pid, 5))));
        // The same id again is another process, and so is another id at the same place.
        assert!(seen.insert(id(7, 6)));
        assert!(seen.insert(id(7 + 8192, 5)));
        assert!(!seen.insert(id(8, 5)));
    }
}
