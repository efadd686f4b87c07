//! The record: segments of JSON Lines in a folder, each with a file of seals beside it. `docs/forensics.md` has the format.
//!
//! ```text
//! observer-000001-20261122T143215Z.jsonl.zst     events; closed segments are compressed
//! observer-000001-20261122T143215Z.seals         what they were, chained
//! observer-000002-20261123T080000Z.jsonl
//! observer-000002-20261123T080000Z.seals
//! observer.head                                  the last seal
//! observer.gap                                   what a run could not record and not tell
//! ```

pub mod chain;
pub mod folder;
pub mod gap;
pub mod keeper;
pub mod open;
pub mod reader;
pub mod scan;
pub mod seal;
pub mod segment;
pub mod verify;
pub mod writer;

#[cfg(test)]
mod tests;

pub use folder::{Folder, Segment};
pub use gap::Notice;
pub use segment::Settings;
pub use writer::{Line, Recorder};
