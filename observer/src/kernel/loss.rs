//! What the kernel side could not hand over.

use serde::{Deserialize, Serialize};

/// Records that were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Kind of the events that are missing.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Between which moments, in nanoseconds of `CLOCK_BOOTTIME`.
    pub span_ns: (u64, u64),
    /// Why.
    pub reason: String,
    /// The count is an upper bound.
    pub at_most: bool,
}
