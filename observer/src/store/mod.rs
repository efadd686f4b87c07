//! The store: segments of JSON Lines in a folder, each with a file of seals beside it. `docs/forensics.md` has the format.
//!
//! ```text
//! observer-000001-20261122T143215Z.jsonl.zst     events; closed segments are compressed
//! observer-000001-20261122T143215Z.seals         what they were, chained
//! observer-000002-20261123T080000Z.jsonl
//! observer-000002-20261123T080000Z.seals
//! observer.head                                  the last seal
//! observer.gap                                   what a run could neither store nor report
//! ```

pub mod chain;
pub mod folder;
pub mod gap;
pub mod keeper;
pub mod open;
pub mod query;
pub mod reader;
pub mod seal;
pub mod segment;
pub mod verify;
pub mod writer;

#[cfg(test)]
mod tests;

pub use folder::{Folder, Segment};
pub use gap::Notice;
pub use segment::Limits;
pub use writer::{StoreWriter, StoredEvent};
