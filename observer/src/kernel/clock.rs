//! Converts the kernel's `CLOCK_BOOTTIME` to the time of day.
//!
//! **Invariant:** a process's start time never changes within a run, whatever happens to the time of day.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The difference between the two clocks. Only [`Clock::set`] changes it, after somebody set the time of day.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds of the epoch at boot, as first sampled. Start times always use it: a process's (pid, start time) must not
    /// change when the clock is set.
    first: i128,
    now: i128,
}

/// A smaller change is jitter: the two clocks are sampled one after the other.
const STEP_NS: i128 = 1_000_000;

/// The epoch of start times is rounded to this: another run of observer samples the clocks some nanoseconds off, and must get
/// the same (pid, start time) for a process. Rounded down: nothing ends before it began.
const GRAIN_NS: i128 = 50_000;

/// Readings a sample; the one with the smallest gap between the clocks counts.
const READINGS: usize = 5;

impl Clock {
    /// Samples both clocks.
    #[must_use]
    pub fn new() -> Self {
        let offset = sample();
        Self { first: offset - offset.rem_euclid(GRAIN_NS), now: offset }
    }

    /// A clock of a capture: `boot_ns` is the epoch's nanoseconds at boot.
    #[must_use]
    pub fn fixed(boot_ns: i128) -> Self {
        Self { first: boot_ns, now: boot_ns }
    }

    /// Samples both clocks. If somebody set the time of day, the epoch's nanoseconds at boot, for [`Self::set`].
    #[must_use]
    pub fn step(&self) -> Option<i64> {
        let offset = sample();
        let stepped = (offset - self.now).abs() > STEP_NS;
        i64::try_from(offset).ok().filter(|_| stepped)
    }

    /// Adopts the time of day that [`Self::step`] found.
    pub fn set(&mut self, boot_epoch_ns: i64) {
        self.now = boot_epoch_ns.into();
    }

    /// Nanoseconds of the epoch at boot, as first sampled.
    #[must_use]
    pub fn boot_epoch_ns(&self) -> i64 {
        i64::try_from(self.first).unwrap_or(0)
    }

    /// Time of an event, by the time of day as it is set now.
    #[must_use]
    pub fn time(&self, boot_ns: u64) -> Timestamp {
        timestamp(self.now + i128::from(boot_ns))
    }

    /// Nanoseconds since boot at a time of day; 0 for a time before boot.
    #[must_use]
    pub fn boot_ns(&self, time: Timestamp) -> u64 {
        u64::try_from(time.as_nanosecond() - self.now).unwrap_or(0)
    }

    /// When a process started: the same whatever happens to the clock.
    #[must_use]
    pub fn start_time(&self, boot_ns: u64) -> Timestamp {
        timestamp(self.first + i128::from(boot_ns))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn timestamp(ns: i128) -> Timestamp {
    Timestamp::from_nanosecond(ns).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Nanoseconds of `CLOCK_BOOTTIME` now.
#[must_use]
pub fn boot_ns() -> u64 {
    u64::try_from(nanoseconds(ClockId::Boottime)).unwrap_or(0)
}

/// Reads the time of day between two readings of the boot clock: the closer those two, the more exact the offset.
fn sample() -> i128 {
    let reading = |_| {
        let before = nanoseconds(ClockId::Boottime);
        let day = nanoseconds(ClockId::Realtime);
        let after = nanoseconds(ClockId::Boottime);
        (after - before, day - before.midpoint(after))
    };
    (0..READINGS).map(reading).min().map_or(0, |(_, offset)| offset)
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
