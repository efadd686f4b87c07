//! How long a test waits for an event. A limit proves nothing, it only ends a test that would hang, so it may be
//! generous.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `--beside-load` multiplies every limit by this: five busy processes share the processors then.
const BESIDE_LOAD: f64 = 4.0;

static LOADED: AtomicBool = AtomicBool::new(false);

/// There is other load from now on: limits are longer, assertions stay the same.
pub fn expect_load() {
    LOADED.store(true, Ordering::Relaxed);
}

/// The limit for one step.
pub fn limit() -> Duration {
    scaled(10)
}

/// So many seconds of an ordinary machine; `OBSERVER_TEST_SLOW` multiplies them.
pub fn scaled(seconds: u64) -> Duration {
    slowed(Duration::from_secs(seconds))
}

/// So much time of an ordinary machine.
pub fn slowed(time: Duration) -> Duration {
    let load = if LOADED.load(Ordering::Relaxed) { BESIDE_LOAD } else { 1.0 };
    time.mul_f64(factor() * load)
}

/// Whether `OBSERVER_TEST_SLOW` says that this machine is emulated: an eBPF program takes a good part of a time slice
/// there.
pub fn slow_machine() -> bool {
    factor() > 1.0
}

fn factor() -> f64 {
    let factor = std::env::var("OBSERVER_TEST_SLOW").ok().and_then(|text| text.parse().ok());
    factor.unwrap_or(1.0)
}
