//! Events that could not be recorded, counted, and a note of them for the next run.
//!
//! A disk that is full when the service ends takes no word of what is missing. So the note has room that was taken while there
//! was some: it is overwritten in place, which needs no more.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Folder, StoredEvent};
use crate::model::Kind;

/// The file of the note. Blank when nothing is missing.
pub const NOTE: &str = "observer.gap";

/// How much room it has.
const ROOM: usize = 4096;

/// A longer reason is cut: the note has little room.
const REASON: usize = 1000;

/// Events that were not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How many, by kind.
    pub lost: BTreeMap<String, u64>,
    /// The highest number among them: no other event may have it.
    pub seq: u64,
    /// Nothing was lost before.
    pub from: Timestamp,
    /// Nor after.
    pub to: Timestamp,
    /// Why.
    pub reason: String,
}

impl Notice {
    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lost.values().fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// Takes in another one.
    fn add(&mut self, other: Self) {
        for (kind, lost) in other.lost {
            let count = self.lost.entry(kind).or_default();
            *count = count.saturating_add(lost);
        }
        self.seq = self.seq.max(other.seq);
        (self.from, self.to) = (self.from.min(other.from), self.to.max(other.to));
    }
}

/// Counts lines that are not recorded.
pub(super) fn count(
    gap: &mut Option<Notice>,
    lines: &[StoredEvent],
    reason: impl FnOnce() -> String,
) {
    let Some(first) = lines.first() else { return };
    let gap = gap.get_or_insert_with(|| Notice {
        lost: BTreeMap::new(),
        seq: first.seq,
        from: first.time,
        to: first.time,
        reason: reason(),
    });
    for line in lines {
        // What a loss tells is lost once more with it.
        let itself = (line.kind.name(), 1);
        let told = line.lost.iter().map(|(kind, lost)| (kind.as_str(), *lost));
        for (kind, lost) in told.chain([itself]) {
            let sum = gap.lost.entry(kind.to_owned()).or_default();
            *sum = sum.saturating_add(lost);
        }
        gap.seq = gap.seq.max(line.seq);
        gap.to = gap.to.max(line.time);
        gap.from = gap.from.min(line.time);
    }
}

/// The note.
#[derive(Debug)]
pub struct GapNote {
    folder: Folder,
    /// With its room; `None`: there was none yet.
    file: Option<File>,
    /// It was handed on to become an event, which is not written yet.
    pub told: Option<Notice>,
    blank: bool,
}

impl GapNote {
    /// Takes room for it, and reads what the run before has left. Fails where no file can be made, for want of room aside.
    pub fn open(folder: &Folder) -> Result<Self> {
        let mut note = Self { folder: folder.clone(), file: None, told: None, blank: true };
        match note.take_room() {
            Err(error) if !is_full(&error) => Err(error).with_context(|| {
                let path = folder.path().display();
                format!("can't make files in {path}: name another folder with --dir")
            }),
            _ => Ok(note),
        }
    }

    /// Tried again whenever there may be room.
    pub(super) fn take_room(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let mut file = self.folder.open(&self.folder.path().join(NOTE))?;
        let mut text = Vec::new();
        file.by_ref().take(ROOM as u64).read_to_end(&mut text)?;
        if text.len() < ROOM {
            file.write_all_at(&[b' '; ROOM], 0)?;
            // Now the disk has given it.
            file.sync_data()?;
        } else if let Ok(notice) = serde_json::from_slice(&text) {
            self.told = Some(notice);
            self.blank = false;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Notes what is missing: `gap`, and what was handed on but not written.
    pub(super) fn write(&mut self, gap: Option<&Notice>) {
        let mut missing = self.told.clone();
        match (&mut missing, gap) {
            (Some(missing), Some(gap)) => missing.add(gap.clone()),
            (missing, Some(gap)) => *missing = Some(gap.clone()),
            (_, None) => {}
        }
        let Some(file) = &self.file else { return };
        if missing.is_none() && self.blank {
            return;
        }
        let text = missing.as_ref().map_or_else(Vec::new, |missing| {
            let reason = missing.reason.chars().take(REASON).collect();
            serde_json::to_vec(&Notice { reason, ..missing.clone() }).unwrap_or_default()
        });
        let mut text = if text.len() < ROOM { text } else { Vec::new() };
        text.resize(ROOM, b' ');
        match file.write_all_at(&text, 0) {
            Ok(()) => self.blank = missing.is_none(),
            Err(error) => tracing::debug!(%error, "what is missing can't be noted"),
        }
    }

    /// Hands a gap on: somebody makes an event of it.
    pub(super) fn hand_on(&mut self, gap: Notice) -> Notice {
        match &mut self.told {
            Some(told) => told.add(gap.clone()),
            told => *told = Some(gap.clone()),
        }
        gap
    }

    /// Such lines were written: once the event is among them, nothing is left to note.
    pub(super) fn written(&mut self, lines: &[StoredEvent]) {
        if self.is_told_by(lines) {
            self.told = None;
            self.write(None);
        }
    }

    /// Such lines were not written, and are counted in the gap: if the event is among them, with what it tells.
    pub(super) fn failed(&mut self, lines: &[StoredEvent], gap: Option<&Notice>) {
        if self.is_told_by(lines) {
            self.told = None;
        }
        self.write(gap);
    }

    /// A loss of another origin, the kernel's say, tells something else.
    fn is_told_by(&self, lines: &[StoredEvent]) -> bool {
        let is_it = |told: &Notice| {
            lines.iter().any(|line| line.kind == Kind::Loss && line.lost == told.lost)
        };
        self.told.as_ref().is_some_and(is_it)
    }
}

/// Whether there may be room another time.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::{GapNote, NOTE, Notice, ROOM, count};
    use crate::{
        model::Kind,
        store::{Folder, StoredEvent},
    };

    fn line(seq: u64, kind: Kind) -> StoredEvent {
        StoredEvent {
            text: Bytes::new(),
            seq,
            kind,
            lost: BTreeMap::new(),
            time: Timestamp::UNIX_EPOCH,
        }
    }

    fn gap(lines: &[StoredEvent]) -> Option<Notice> {
        let mut gap = None;
        count(&mut gap, lines, || "full".to_owned());
        gap
    }

    #[test]
    fn what_is_missing_is_known_to_the_next_run_until_it_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(dir.path());
        let lost = gap(&[line(7, Kind::Exit), line(8, Kind::Bind), line(9, Kind::Exit)]);
        GapNote::open(&folder).expect("room").write(lost.as_ref());
        let size = std::fs::metadata(dir.path().join(NOTE)).expect("a file").len();
        assert_eq!(size, ROOM as u64);
        let mut next = GapNote::open(&folder).expect("room");
        assert_eq!(next.told, lost);
        // The disk is full again before the event is written: it is noted with what is missing since.
        let told = lost.map(|lost| lost.lost).unwrap_or_default();
        let loss = StoredEvent { lost: told, ..line(11, Kind::Loss) };
        let gap = gap(&[line(10, Kind::Session), loss.clone()]);
        next.failed(&[loss], gap.as_ref());
        assert_eq!(gap.as_ref().map(Notice::total), Some(5));
        let mut last = GapNote::open(&folder).expect("room");
        assert_eq!(last.told.as_ref().map(|told| (told.seq, told.total())), Some((11, 5)));
        last.written(&[line(12, Kind::Exit)]);
        let kernel = BTreeMap::from([("exit".to_owned(), 40)]);
        last.written(&[StoredEvent { lost: kernel, ..line(13, Kind::Loss) }]);
        assert!(GapNote::open(&folder).expect("room").told.is_some());
        let lost = last.told.clone().map(|told| told.lost).unwrap_or_default();
        last.written(&[StoredEvent { lost, ..line(14, Kind::Loss) }]);
        assert!(GapNote::open(&folder).expect("room").told.is_none());
    }

    #[test]
    fn a_folder_that_takes_no_files_is_refused() {
        let folder = Folder::at(std::path::Path::new("/proc"));
        let error = GapNote::open(&folder).expect_err("no place for files");
        assert!(format!("{error:#}").contains("can't make files in /proc"), "{error:#}");
    }
}
