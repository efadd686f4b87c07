//! Stage 2, from records to typed kernel events.
//!
//! **Invariant:** no I/O, no `unsafe`. Every length is checked: no bytes make it panic.

mod cursor;
mod exit;
mod oom;
mod pattern;
mod raw;
mod repeats;
mod socket;
mod task;

use bytes::Bytes;
use observer_common::header::{ABI, Header, KIND_BIND, KIND_EXIT, KIND_EXIT_LIKE, KIND_OOM};

use cursor::Cursor;
pub use exit::{Exit, Note};
pub use oom::Oom;
pub use pattern::{Partial, Patterns, pattern_id};
pub use repeats::{RepeatCount, RepeatKey};
pub use socket::{Bind, Descriptor, Endpoint, KernelSocket, decode_holders};
pub(crate) use task::until_nul;
pub use task::{Task, TaskId};

/// A record, decoded.
#[derive(Clone, Debug)]
pub enum KernelEvent {
    /// A process ended.
    Exit(Box<Exit>),
    /// The OOM killer chose a victim.
    Oom(Box<Oom>),
    /// A bind or a listen, or the end of a listener.
    Bind(Box<Bind>),
}

impl KernelEvent {
    /// When it happened: nanoseconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        match self {
            Self::Exit(exit) => exit.time_ns,
            Self::Oom(oom) => oom.time_ns,
            Self::Bind(bind) => bind.time_ns,
        }
    }
}

/// Why a record can't be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends before its parts do.
    #[error("record cut off at byte {at} of {len}")]
    Short {
        /// Where the missing part begins.
        at: usize,
        /// Length of the record.
        len: usize,
    },
    /// Its header names another length than it has.
    #[error("record of {actual} bytes says it has {stated}")]
    Length {
        /// Length in the header.
        stated: u32,
        /// Length of the record.
        actual: usize,
    },
    /// It was written by other programs than these.
    #[error("record of ABI {0}, this is {ABI}")]
    Abi(u16),
    /// It refers to an earlier record, which is not known.
    #[error("record of a death that refers to an unknown pattern")]
    Pattern,
    /// Its kind is unknown.
    #[error("record of unknown kind {0}")]
    Kind(u16),
}

/// Time of a record: nanoseconds of `CLOCK_BOOTTIME`; 0 if it has no header.
#[must_use]
pub fn time_ns(record: &Bytes) -> u64 {
    Cursor::new(record).fixed::<Header>().map_or(0, |header| header.time_ns)
}

/// Whether a record is that of an OOM kill, by its header alone.
#[must_use]
pub fn is_oom(record: &Bytes) -> bool {
    Cursor::new(record).fixed::<Header>().is_ok_and(|header| header.kind == KIND_OOM)
}

/// Decodes one record.
pub fn decode(record: &Bytes) -> Result<KernelEvent, DecodeError> {
    let mut cursor = Cursor::new(record);
    let header: Header = cursor.clone().fixed()?;
    if header.size as usize != record.len() {
        return Err(DecodeError::Length { stated: header.size, actual: record.len() });
    }
    if header.abi != ABI {
        return Err(DecodeError::Abi(header.abi));
    }
    match header.kind {
        KIND_EXIT => Ok(KernelEvent::Exit(Box::new(exit::decode(&mut cursor)?))),
        KIND_OOM => Ok(KernelEvent::Oom(Box::new(oom::decode(&mut cursor)?))),
        KIND_BIND => Ok(KernelEvent::Bind(Box::new(socket::decode_bind(&mut cursor)?))),
        KIND_EXIT_LIKE => Err(DecodeError::Pattern),
        kind => Err(DecodeError::Kind(kind)),
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
