//! Stage 1, from the kernel to records: loads the eBPF programs and drains their rings.
//!
//! **Invariant:** records leave this folder as bytes; `decode` gives them types.

pub mod btf;
pub mod clock;
pub mod counts;
pub mod footprint;
pub mod handover;
pub mod hooks;
pub mod host;
pub mod load;
pub mod loss;
pub mod offsets;
pub mod preflight;
pub mod refusals;
pub mod rings;

pub use load::Kernel;
