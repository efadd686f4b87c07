//! The store: a folder of event files (segments of JSON Lines), each with a file of seals beside it. `docs/forensics.md` has
//! the format.
//!
//! **Invariant:** sealed bytes of a segment never change. Only a failed write or a torn event, neither of them sealed, is cut
//! off. A segment is removed as a whole.
//!
//! **Bounded:** the folder by [`Limits`]; the writer's queue by 256 batches.
//!
//! ```text
//! observer-000001-20261122T143215Z.jsonl.zst     events; closed segments are compressed
//! observer-000001-20261122T143215Z.seals         their hashes, chained
//! observer-000002-20261123T080000Z.jsonl
//! observer-000002-20261123T080000Z.seals
//! observer.head                                  the last seal
//! observer.gap                                   counts of events that a run could neither store nor report
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
