//! Stage 4: from facts to causes. Pure: no I/O, no clock but the one handed in, so that a recording gives the same answer.
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
