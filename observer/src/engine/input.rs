//! What drives the engine. A capture holds exactly this: a moment, and the inputs of that moment.

use bytes::Bytes;

use super::scan::ScanResult;
use crate::{decode::RepeatCount, kernel::loss::Loss};

/// One input. Those of one moment come in the order of the variants.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time of day was set: nanoseconds of the epoch at boot, from now on.
    Clock(i64),
    /// Kernel functions by address, for the stacks in the records that follow.
    Symbols(Vec<(u64, String)>),
    /// What one drain of the rings brought, in any order.
    Records(Vec<Bytes>),
    /// Nothing came, but time has passed.
    Tick,
    /// Refusals that were counted and not told one by one.
    Repeats(Vec<RepeatCount>),
    /// The outcome of the scan that [`super::Engine::wants_scan`] asked for; an error in words where it failed.
    Scan(Result<Box<ScanResult>, String>),
    /// Records that the kernel side could not hand over.
    Loss(Loss),
}

/// What becomes of deaths with code 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeZero {
    /// Nobody wants them: left out.
    Ignored,
    /// For listeners only: emitted without a `seq`.
    Unnumbered,
    /// Stored like every other death.
    Numbered,
}
