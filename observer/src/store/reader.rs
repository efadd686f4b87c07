//! Reads segments, compressed or not, in pieces of whole lines.
//!
//! **Bounded:** reads [`PIECE`] bytes at a time, and keeps at most about [`LONGEST`] bytes of one line.

use std::{io, io::Read, path::Path};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Segment, folder::open_to_read};

/// Bytes of one read.
const PIECE: usize = 1 << 20;

/// A longer line comes in pieces. No event has more than [`crate::model::LINE_MAX`], but those of older versions may.
const LONGEST: usize = 16 << 20;

/// `seq` and time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Last {
    /// Its `seq`.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
}

/// The `seq` and the time of a line, which are among its first keys, without reading the rest of it.
#[must_use]
pub fn head(line: &[u8]) -> Option<Last> {
    let head = &line[..line.len().min(160)];
    Some(Last { seq: seq(head)?, time: time(head)? })
}

/// The `seq` of a line.
#[must_use]
pub fn seq(line: &[u8]) -> Option<u64> {
    let head = &line[..line.len().min(64)];
    let at = memchr::memmem::find(head, b"\"seq\":")? + 6;
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&head[at..at + digits]).ok()?.parse().ok()
}

/// The time of a line.
#[must_use]
pub fn time(line: &[u8]) -> Option<Timestamp> {
    let head = &line[..line.len().min(160)];
    let at = memchr::memmem::find(head, b"\"time\":\"")? + 8;
    let end = memchr::memchr(b'"', &head[at..])?;
    std::str::from_utf8(&head[at..at + end]).ok()?.parse().ok()
}

/// Reads one segment.
pub struct Pieces<R> {
    source: R,
    buffer: Vec<u8>,
    used: usize,
    given: usize,
    ended: bool,
}

/// A segment's bytes, uncompressed.
pub type Source = Box<dyn Read + Send>;

/// Opens a segment's events.
pub fn open(segment: &Segment) -> Result<Pieces<Source>> {
    let path = segment.events.as_deref().context("a segment without events")?;
    open_file(path, segment.compressed).with_context(|| format!("can't read {}", path.display()))
}

/// Whether the file no longer existed.
#[must_use]
pub fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn open_file(path: &Path, compressed: bool) -> io::Result<Pieces<Source>> {
    let file = open_to_read(path)?;
    let source: Source =
        if compressed { Box::new(zstd::Decoder::new(file)?) } else { Box::new(file) };
    Ok(Pieces::new(source))
}

impl<R: Read> Pieces<R> {
    /// Pieces of any source.
    pub fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), used: 0, given: 0, ended: false }
    }

    /// The next lines, each with its end; the last line of the file may have none. Empty at the end of the file.
    pub fn next_piece(&mut self) -> io::Result<&[u8]> {
        self.buffer.copy_within(self.given..self.used, 0);
        self.used -= self.given;
        self.given = 0;
        // The rest of the piece before has no line end.
        let mut searched = self.used;
        loop {
            if let Some(end) = memchr::memrchr(b'\n', &self.buffer[searched..self.used]) {
                self.given = searched + end + 1;
                break;
            }
            searched = self.used;
            if self.ended || self.used > LONGEST {
                self.given = self.used;
                break;
            }
            self.fill()?;
        }
        Ok(&self.buffer[..self.given])
    }

    /// Reads until a piece is full: a decoder returns many small reads.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.resize(self.used + PIECE, 0);
        while self.used < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.used..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => self.used += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The lines of a piece, each with its end.
pub fn lines(piece: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = piece;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::{Pieces, lines};

    #[test]
    fn whole_lines_and_a_torn_one() {
        let mut text = "x".repeat(1_500_000) + "\nab\n";
        text.push_str("torn");
        let mut pieces = Pieces::new(text.as_bytes());
        let mut all: Vec<Vec<u8>> = Vec::new();
        loop {
            let piece = pieces.next_piece().expect("memory");
            if piece.is_empty() {
                break;
            }
            all.extend(lines(piece).map(<[u8]>::to_vec));
        }
        assert_eq!(all.len(), 3);
        assert_eq!(
            (all[0].len(), &all[1][..], &all[2][..]),
            (1_500_001, &b"ab\n"[..], &b"torn"[..])
        );
    }
}
