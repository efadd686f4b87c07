//! Records that the kernel side could not deliver.

use serde::{Deserialize, Serialize};

/// Records that were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Kind of the events that are missing.
    pub kind: String,
    /// How many records.
    pub count: u64,
    /// Between these two times, in nanoseconds of `CLOCK_BOOTTIME`.
    pub span_ns: (u64, u64),
    /// Why.
    pub reason: String,
    /// The count is an upper bound.
    pub at_most: bool,
}
