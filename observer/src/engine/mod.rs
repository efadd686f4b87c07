//! The engine: kernel records, scans and losses in; events out. One driver for the kernel and for captures.
//!
//! ```text
//! live.rs    the kernel as the source of inputs ──┐
//!                                                 ├─ Input ─▶ engine.rs ─▶ Event
//! replay.rs  a capture as the source ─────────────┘
//! tap.rs     writes the inputs of a live run to a capture (capture.rs: the file)
//! ```
//!
//! **Invariant:** `engine.rs`, `pipeline/` and `replay.rs` do no I/O and read no clock: the same inputs at the same moments
//! give the same events, number for number. `live.rs` and its folder do all of it. One exception: names of users, which
//! [`crate::enrich::Users`] reads from `/etc/passwd`; a capture has none.

pub mod capture;
#[expect(clippy::module_inception, reason = "the engine itself, beside what drives it")]
pub mod engine;
pub mod input;
pub mod live;
mod pipeline;
pub mod replay;
pub mod scan;
mod tap;

pub use engine::{Engine, Setup};
pub use input::{CodeZero, Input};
pub use pipeline::FloodLimit;
