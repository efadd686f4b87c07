//! The files of a segment that is checked, while a service may close and remove segments.

use std::{collections::VecDeque, io};

use anyhow::{Context, Result};

use crate::store::{
    Folder, Segment,
    chain::Hash,
    folder,
    reader::{self, Pieces, Source, lines},
};

/// A segment's files, as far as there are any.
pub(in crate::store) struct Opened {
    pub(in crate::store) segment: Segment,
    pub(super) seals: io::Result<Vec<u8>>,
    pub(in crate::store) pieces: Option<Result<Pieces<Source>>>,
}

/// Opens a segment's files. A service that runs compresses and removes segments meanwhile: then the folder is looked at
/// again. `None`: nothing is left of it.
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

pub(super) struct Record {
    pub(super) hash: Hash,
    pub(super) seq: Option<u64>,
}

pub(super) struct Records {
    pieces: Pieces<Source>,
    waiting: VecDeque<Record>,
}

impl Records {
    pub(super) fn new(pieces: Pieces<Source>) -> Self {
        Self { pieces, waiting: VecDeque::new() }
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        if self.waiting.is_empty() {
            let piece = self.pieces.next_piece().context("the segment can't be read on")?;
            self.waiting
                .extend(lines(piece).map(|line| Record { hash: Hash::of(line), seq: seq(line) }));
        }
        Ok(self.waiting.pop_front())
    }
}

fn seq(line: &[u8]) -> Option<u64> {
    // Each line begins with it: nothing behind is read.
    let head = &line[..line.len().min(64)];
    let at = memchr::memmem::find(head, b"\"seq\":")? + 6;
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&head[at..at + digits]).ok()?.parse().ok()
}
