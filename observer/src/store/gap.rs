//! Counts events that could not be stored, and keeps a note of them for the next run.
//!
//! A full disk can't take the note when the service ends. So the note's space is allocated while there is room, and it is
//! overwritten in place.
//!
//! **Bounded:** the note has [`ROOM`] bytes, of which the reason takes at most [`REASON`] characters.

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

/// Its size in bytes.
const ROOM: usize = 4096;

/// Most characters of a reason in the note.
const REASON: usize = 1000;

/// Events that were not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How many, by kind.
    pub lost: BTreeMap<String, u64>,
    /// The highest `seq` among them: no other event may use it.
    pub seq: u64,
    /// Time of the first.
    pub from: Timestamp,
    /// Time of the last.
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

    /// Adds another one.
    pub(super) fn add(&mut self, other: Self) {
        for (kind, lost) in other.lost {
            let count = self.lost.entry(kind).or_default();
            *count = count.saturating_add(lost);
        }
        self.seq = self.seq.max(other.seq);
        (self.from, self.to) = (self.from.min(other.from), self.to.max(other.to));
    }
}

/// Counts events that are not stored.
pub(super) fn count(
    gap: &mut Option<Notice>,
    events: &[StoredEvent],
    reason: impl FnOnce() -> String,
) {
    let Some(first) = events.first() else { return };
    let gap = gap.get_or_insert_with(|| Notice {
        lost: BTreeMap::new(),
        seq: first.seq,
        from: first.time,
        to: first.time,
        reason: reason(),
    });
    for event in events {
        // With a loss event, the losses that it reports are lost once more.
        let itself = (event.kind.name(), 1);
        let reported = event.lost.iter().map(|(kind, lost)| (kind.as_str(), *lost));
        for (kind, lost) in reported.chain([itself]) {
            let sum = gap.lost.entry(kind.to_owned()).or_default();
            *sum = sum.saturating_add(lost);
        }
        gap.seq = gap.seq.max(event.seq);
        gap.to = gap.to.max(event.time);
        gap.from = gap.from.min(event.time);
    }
}

/// The note.
#[derive(Debug)]
pub struct GapNote {
    folder: Folder,
    /// Its file, of full size; `None`: the disk had no room yet.
    file: Option<File>,
    /// A gap whose `loss` event is not written yet.
    pub pending: Option<Notice>,
    blank: bool,
}

impl GapNote {
    /// Allocates its file, and reads the note of the run before. Fails if no file can be created for any reason but a full
    /// disk.
    pub fn open(folder: &Folder) -> Result<Self> {
        let mut note = Self { folder: folder.clone(), file: None, pending: None, blank: true };
        match note.allocate() {
            Err(error) if !is_full(&error) => Err(error).with_context(|| {
                let path = folder.path().display();
                format!("can't create files in {path}: name another folder with --dir")
            }),
            _ => Ok(note),
        }
    }

    /// Allocates the file if that failed before.
    pub(super) fn allocate(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let mut file = self.folder.open(&self.folder.path().join(NOTE))?;
        let mut text = Vec::new();
        file.by_ref().take(ROOM as u64).read_to_end(&mut text)?;
        if text.len() < ROOM {
            file.write_all_at(&[b' '; ROOM], 0)?;
            // The disk has allocated it now.
            file.sync_data()?;
        } else if let Ok(notice) = serde_json::from_slice(&text) {
            self.pending = Some(notice);
            self.blank = false;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Its file may have been removed.
    pub(super) fn find_again(&mut self) {
        use std::os::unix::fs::MetadataExt as _;
        let gone = |file: &File| file.metadata().map_or(true, |meta| meta.nlink() == 0);
        if self.file.as_ref().is_some_and(gone) {
            self.file = None;
            // A full disk: the next gap tries again.
            let _ = self.allocate();
        }
    }

    /// Writes the note: `gap`, and the pending one.
    pub(super) fn write(&mut self, gap: Option<&Notice>) {
        let mut missing = self.pending.clone();
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
            Err(error) => tracing::debug!(%error, "can't write the note of the gap"),
        }
    }

    /// Marks a gap as pending; the caller emits its `loss` event.
    pub(super) fn set_pending(&mut self, gap: Notice) -> Notice {
        match &mut self.pending {
            Some(pending) => pending.add(gap.clone()),
            pending => *pending = Some(gap.clone()),
        }
        gap
    }

    /// These events were written. If the pending gap's `loss` is among them, clears the note.
    pub(super) fn written(&mut self, events: &[StoredEvent]) {
        if self.is_reported_by(events) {
            self.pending = None;
            self.write(None);
        }
    }

    /// These events were not written, and are counted in `gap`; so is the pending gap, if its `loss` is among them.
    pub(super) fn failed(&mut self, events: &[StoredEvent], gap: Option<&Notice>) {
        if self.is_reported_by(events) {
            self.pending = None;
        }
        self.write(gap);
    }

    /// Whether the pending gap's `loss` is among these events. A loss in the kernel has other counts.
    fn is_reported_by(&self, events: &[StoredEvent]) -> bool {
        let is_it = |pending: &Notice| {
            events.iter().any(|event| event.kind == Kind::Loss && event.lost == pending.lost)
        };
        self.pending.as_ref().is_some_and(is_it)
    }
}

/// Whether the disk is full, so that a later try may succeed.
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
    fn the_note_survives_until_its_loss_event_is_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(dir.path());
        let lost = gap(&[line(7, Kind::Exit), line(8, Kind::Bind), line(9, Kind::Exit)]);
        GapNote::open(&folder).expect("room").write(lost.as_ref());
        let size = std::fs::metadata(dir.path().join(NOTE)).expect("a file").len();
        assert_eq!(size, ROOM as u64);
        let mut next = GapNote::open(&folder).expect("room");
        assert_eq!(next.pending, lost);
        // The disk is full again before the event is written: the note adds the events that are missing since.
        let reported = lost.map(|lost| lost.lost).unwrap_or_default();
        let loss = StoredEvent { lost: reported, ..line(11, Kind::Loss) };
        let gap = gap(&[line(10, Kind::Session), loss.clone()]);
        next.failed(&[loss], gap.as_ref());
        assert_eq!(gap.as_ref().map(Notice::total), Some(5));
        let mut last = GapNote::open(&folder).expect("room");
        assert_eq!(last.pending.as_ref().map(|gap| (gap.seq, gap.total())), Some((11, 5)));
        last.written(&[line(12, Kind::Exit)]);
        let kernel = BTreeMap::from([("exit".to_owned(), 40)]);
        last.written(&[StoredEvent { lost: kernel, ..line(13, Kind::Loss) }]);
        assert!(GapNote::open(&folder).expect("room").pending.is_some());
        let lost = last.pending.clone().map(|gap| gap.lost).unwrap_or_default();
        last.written(&[StoredEvent { lost, ..line(14, Kind::Loss) }]);
        assert!(GapNote::open(&folder).expect("room").pending.is_none());
    }

    #[test]
    fn a_folder_that_takes_no_files_is_refused() {
        let folder = Folder::at(std::path::Path::new("/proc"));
        let error = GapNote::open(&folder).expect_err("no place for files");
        assert!(format!("{error:#}").contains("can't create files in /proc"), "{error:#}");
    }
}
