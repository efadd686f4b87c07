//! Reads a record from front to back: fixed parts start at multiples of 8, segments right after the previous part.
//!
//! **Invariant:** every length is checked against the record; a short one is an error, never a panic.

use bytes::Bytes;
use zerocopy::FromBytes;

use super::DecodeError;

#[derive(Clone)]
pub(super) struct Cursor<'a> {
    record: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(record: &'a Bytes) -> Self {
        Self { record, at: 0 }
    }

    /// Copies out a fixed part.
    pub(super) fn fixed<T: FromBytes>(&mut self) -> Result<T, DecodeError> {
        self.at = self.at.next_multiple_of(8);
        let bytes = self.take(size_of::<T>())?;
        T::read_from_bytes(bytes).map_err(|_size| self.short())
    }

    /// Takes a segment.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.record.len());
        let Some(end) = end else { return Err(self.short()) };
        let bytes = &self.record[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// Takes a segment, or the part of it that exists, as a slice that shares the record's memory.
    pub(super) fn take_up_to(&mut self, len: usize) -> Bytes {
        let end = self.at.saturating_add(len).min(self.record.len());
        let bytes = self.record.slice(self.at.min(end)..end);
        self.at = end;
        bytes
    }

    fn short(&self) -> DecodeError {
        DecodeError::Short { at: self.at, len: self.record.len() }
    }
}
