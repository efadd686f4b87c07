//! Records that came out of the rings at once, and reach the engine in parts: a reader that stood still finds 20,000, and the
//! events of all of them would be in memory together.
//!
//! **Bounded:** by the rings, and by what is taken over from a run before; nothing is drained while something is here.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::decode;

/// So many records reach the engine at a time. Their events take about 1 KiB each.
const AT_ONCE: usize = 4096;

/// What waits for the engine.
#[derive(Default)]
pub(super) struct Backlog(VecDeque<Bytes>);

impl Backlog {
    /// Adds one drain, in the order of the rings.
    pub(super) fn add(&mut self, mut records: Vec<Bytes>) {
        if records.len() > AT_ONCE {
            // A part must not be later than the next one. Stable, and a processor's times grow: a pattern stays before the deaths
            // that refer to it.
            records.sort_by_key(decode::time_ns);
        }
        self.0.extend(records);
    }

    /// The next part.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        let part = self.0.len().min(AT_ONCE);
        self.0.drain(..part).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, Backlog};
    use crate::decode::{
        samples::{exit_bytes, refused_bytes},
        time_ns,
    };

    #[test]
    fn parts_come_in_the_order_of_their_times() {
        let mut backlog = Backlog::default();
        let death = exit_bytes(&crate::decode::samples::exit(20, 9));
        let refusals = (0..AT_ONCE as u64).map(|n| refused_bytes(7, time_ns(&death) + n + 1));
        // The ring of refusals is read first.
        backlog.add(refusals.chain([death.clone()]).collect());
        assert_eq!(backlog.len(), AT_ONCE + 1);
        let first = backlog.take();
        assert_eq!((first.len(), &first[0]), (AT_ONCE, &death));
        assert_eq!((backlog.take().len(), backlog.is_empty()), (1, true));
    }

    #[test]
    fn a_small_drain_stays_as_it_is() {
        let mut backlog = Backlog::default();
        let records = vec![refused_bytes(7, 9), refused_bytes(7, 3)];
        backlog.add(records.clone());
        assert_eq!(backlog.take(), records);
    }
}
