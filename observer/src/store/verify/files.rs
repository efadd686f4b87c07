//! Opens and reads the files of a segment for a check, while a service may compress and remove segments.

use std::{collections::VecDeque, io};

use anyhow::{Context, Result};

use crate::store::{
    Folder, Segment,
    chain::{Hash, LineHash},
    folder,
    reader::{self, Pieces, Source, lines, seq},
};

/// The files of a segment that exist.
pub(in crate::store) struct Opened {
    pub(in crate::store) segment: Segment,
    pub(super) seals: io::Result<Vec<u8>>,
    pub(in crate::store) pieces: Option<Result<Pieces<Source>>>,
}

/// Opens a segment's files. If one is gone, a running service may have compressed the segment: then lists the folder again.
/// `None`: both files are gone.
pub(in crate::store) fn open(folder: &Folder, segment: &Segment) -> Option<Opened> {
    let mut segment = segment.clone();
    loop {
        let seals = folder::read(&segment.seals);
        let pieces = segment.events.as_ref().map(|_| reader::open(&segment));
        let is_gone = seals.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
            || match &pieces {
                Some(Err(error)) => reader::is_gone(error),
                Some(Ok(_)) => false,
                None => true,
            };
        if !is_gone {
            return Some(Opened { segment, seals, pieces });
        }
        let now = folder.segments().unwrap_or_default();
        let now = now.into_iter().find(|now| now.stem == segment.stem)?;
        if now == segment {
            return Some(Opened { segment, seals, pieces });
        }
        segment = now;
    }
}

/// An event's hash and `seq`.
pub(super) struct StoredLine {
    pub(super) hash: Hash,
    pub(super) seq: Option<u64>,
}

/// The events of a segment, one after the other.
pub(super) struct StoredLines {
    pieces: Pieces<Source>,
    waiting: VecDeque<StoredLine>,
    /// The beginning of a line that comes in pieces.
    begun: Option<(LineHash, Option<u64>)>,
}

impl StoredLines {
    pub(super) fn new(pieces: Pieces<Source>) -> Self {
        Self { pieces, waiting: VecDeque::new(), begun: None }
    }

    pub(super) fn next(&mut self) -> Result<Option<StoredLine>> {
        while self.waiting.is_empty() {
            let piece = self.pieces.next_piece().context("can't read all of the segment")?;
            if piece.is_empty() {
                let last = self.begun.take();
                return Ok(last.map(|(sum, seq)| StoredLine { hash: sum.hash(), seq }));
            }
            for line in lines(piece) {
                let (mut sum, seq) =
                    self.begun.take().unwrap_or_else(|| (LineHash::default(), seq(line)));
                sum.add(line);
                if line.ends_with(b"\n") {
                    self.waiting.push_back(StoredLine { hash: sum.hash(), seq });
                } else {
                    self.begun = Some((sum, seq));
                }
            }
        }
        Ok(self.waiting.pop_front())
    }
}
