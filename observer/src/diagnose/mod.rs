//! Stage 4: from facts to causes.
//!
//! **Invariant:** no I/O and no clock of its own, so that a capture gives the same verdict as the kernel did.
//!
//! docs/diagnosis.md lists every verdict with its rule and its evidence.

pub mod answer;
pub mod bind;
pub mod conflict;
pub mod daemon;
pub mod exit;
pub mod incident;
pub mod join;
pub mod oom;
pub mod ports;
pub mod recent;
pub mod relation;
pub mod shares;
