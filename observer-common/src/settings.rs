//! Indexes of the array `SETTINGS`, which userspace may change while the programs run.

/// 1: report processes that ended with code 0 too.
pub const EXITS_ALL: u32 = 0;
/// Number of settings.
pub const SETTINGS: u32 = 1;
