//! How long a test waits for something that has to happen. Nothing is ever proven by a time: a
//! limit only keeps a failing test from hanging, so it may be generous.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the load of `--beside-load` multiplies every limit by: two cores have five processes to run then.
const BESIDE_LOAD: f64 = 4.0;

static LOADED: AtomicBool = AtomicBool::new(false);

/// From now on there is other load, and limits are longer. What is asserted stays the same.
pub fn expect_load() {
    LOADED.store(true, Ordering::Relaxed);
}

/// The limit for one step.
pub fn limit() -> Duration {
    scaled(10)
}

/// So many seconds of an ordinary machine; `OBSERVER_TEST_SLOW` multiplies them (an emulated guest needs that).
pub fn scaled(seconds: u64) -> Duration {
    slowed(Duration::from_secs(seconds))
}

/// So much of an ordinary machine's time.
pub fn slowed(time: Duration) -> Duration {
    let load = if LOADED.load(Ordering::Relaxed) { BESIDE_LOAD } else { 1.0 };
    time.mul_f64(factor() * load)
}

/// Whether this machine is said to be many times slower than its clock: an eBPF program takes a good part of a time slice.
pub fn slow_machine() -> bool {
    factor() > 1.0
}

fn factor() -> f64 {
    let factor = std::env::var("OBSERVER_TEST_SLOW").ok().and_then(|text| text.parse().ok());
    factor.unwrap_or(1.0)
}
