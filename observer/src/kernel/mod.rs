//! Stage 1: from the kernel to bytes. Loads the eBPF programs, and drains their rings.

pub mod btf;
pub mod clock;
pub mod counts;
pub mod footprint;
pub mod hooks;
pub mod host;
pub mod load;
pub mod loss;
pub mod offsets;
pub mod preflight;
pub mod rings;

pub use load::Kernel;
