//! A bucket of tokens: each event takes one, and they come back by the second.
//!
//! **Bounded:** one number.

/// How many events of one kind from one origin are told in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodLimit {
    /// At once.
    pub burst: u64,
    /// A second after that.
    pub per_second: u64,
}

impl FloodLimit {
    /// How long one event is paid for, in nanoseconds.
    fn event_ns(self) -> u64 {
        1_000_000_000 / self.per_second.max(1)
    }
}

/// The bucket: tokens that are missing, as the moment at which none is.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// In nanoseconds of `CLOCK_BOOTTIME`.
    full_ns: u64,
}

impl Bucket {
    /// Takes so many tokens, if it has them. An event that weighs more than a full bucket takes a full one.
    pub(super) fn takes(&mut self, limit: FloodLimit, weight: u64, time_ns: u64) -> bool {
        let event_ns = limit.event_ns();
        let missing_ns = self.full_ns.saturating_sub(time_ns);
        let after_ns = missing_ns.saturating_add(weight.min(limit.burst).saturating_mul(event_ns));
        let takes = after_ns <= limit.burst.saturating_mul(event_ns);
        if takes {
            self.full_ns = time_ns.saturating_add(after_ns);
        }
        takes
    }

    /// Whether no token is missing.
    pub(super) fn is_full(&self, now_ns: u64) -> bool {
        self.full_ns <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, FloodLimit};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn so_many_at_once_and_so_many_a_second_after_that() {
        let limit = FloodLimit { burst: 100, per_second: 50 };
        let mut bucket = Bucket::default();
        let mut takes = |time_ns| (0..1000).filter(|_| bucket.takes(limit, 1, time_ns)).count();
        assert_eq!(takes(10 * SECOND), 100);
        assert_eq!(takes(10 * SECOND), 0);
        assert_eq!(takes(11 * SECOND), 50);
        // Events come a little out of order.
        assert_eq!(takes(10 * SECOND), 0);
        assert_eq!(takes(12 * SECOND + SECOND / 50), 51);
        assert_eq!(takes(100 * SECOND), 100);
        assert!(!bucket.is_full(101 * SECOND) && bucket.is_full(102 * SECOND));
    }

    #[test]
    fn what_is_long_takes_more() {
        let limit = FloodLimit { burst: 10, per_second: 1 };
        let mut bucket = Bucket::default();
        assert!(bucket.takes(limit, 8, SECOND));
        assert!(!bucket.takes(limit, 3, SECOND) && bucket.takes(limit, 2, SECOND));
        // More than a whole bucket is told once it is full.
        assert!(!bucket.takes(limit, 70, 10 * SECOND) && bucket.takes(limit, 70, 11 * SECOND));
        let endless = FloodLimit { burst: u64::MAX, per_second: 1 };
        assert!(bucket.takes(endless, 70, SECOND));
    }
}
