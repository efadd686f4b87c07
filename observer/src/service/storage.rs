//! The store of a service: encoded events, new segments, and gaps that become events.

use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    cli::config::Files,
    store::{
        Folder, Limits, Notice, StoreWriter, StoredEvent, folder::group_id, gap::GapNote, keeper,
        open, writer::WriterState,
    },
};

/// The store of a service.
pub struct Storage {
    writer: StoreWriter,
    /// Notices from the thread that writes.
    pub notices: UnboundedReceiver<Notice>,
    limits: Limits,
    folder: Folder,
    bytes: u64,
    began: Instant,
    /// How old the segment was then: one that another run began does not become young.
    age: Duration,
    begun: bool,
    /// How many removals of segments were followed by another segment.
    removals: u64,
    _lock: std::fs::File,
}

/// What the store has from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct PreviousRun {
    /// The last event.
    pub last: Option<open::Last>,
    /// The last run was stopped in order.
    pub clean: bool,
    /// What it could neither store nor report.
    pub unrecorded: Option<Notice>,
}

/// A folder that was taken over, before anything is written.
pub struct OpenedStore {
    folder: Folder,
    found: open::OpenFolder,
    note: GapNote,
    limits: Limits,
    lock: std::fs::File,
    /// What it has from earlier runs.
    pub previous: PreviousRun,
}

impl PreviousRun {
    /// Numbers go on after all that were given, stored or not.
    fn of(found: &open::OpenFolder, unrecorded: Option<Notice>) -> Self {
        let lost = unrecorded.as_ref().map(|lost| open::Last { seq: lost.seq, time: lost.to });
        let last = found.last.into_iter().chain(lost).max_by_key(|last| last.seq);
        Self { last, clean: found.clean, unrecorded }
    }
}

impl OpenedStore {
    /// Takes the folder over; fails when another service has it.
    pub fn open(dir: &std::path::Path, files: &Files) -> Result<Self> {
        let group = group_id(&files.group);
        if group.is_none() {
            tracing::warn!("there is no group {}: only root reads the store", files.group);
        }
        let folder = Folder::create(dir, group)?;
        let lock = folder.lock()?;
        let note = GapNote::open(&folder)?;
        let found = open::open(&folder)?;
        if let Some(why) = &found.not_resumed {
            tracing::warn!(
                "a new segment begins, the newest one is left as it is: {why}; see `observer verify`"
            );
        }
        if found.torn > 0 {
            tracing::warn!("a torn event of {} bytes was set aside", found.torn);
        }
        let previous = PreviousRun::of(&found, note.pending.clone());
        Ok(Self { folder, found, note, limits: limits(files), lock, previous })
    }

    /// Starts the thread that writes: it has the rights that the caller has by then.
    pub fn start(self) -> Result<Storage> {
        let Self { folder, found, note, limits, lock, previous: _ } = self;
        keeper::compress_closed(&folder, &folder.own_segments()?);
        let bytes = found.current.as_ref().map(|current| current.len);
        let since = found.current.as_ref().and_then(|current| current.segment.begun());
        let age = since.map_or(Duration::ZERO, |since| {
            // A clock that was set back makes it young, not old.
            Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default()
        });
        let (sender, notices) = unbounded_channel();
        let writer = StoreWriter::start(folder.clone(), limits, found, note, move |notice| {
            // Nobody listens any more when the service ends.
            let _ = sender.send(notice);
        })?;
        let began = Instant::now();
        let begun = bytes.is_some_and(|bytes| bytes < limits.segment_bytes);
        let bytes = bytes.unwrap_or(0);
        Ok(Storage {
            writer,
            notices,
            limits,
            folder,
            bytes,
            began,
            age,
            begun,
            removals: 0,
            _lock: lock,
        })
    }
}

impl Storage {
    /// Whether a new segment should begin: [`Self::begin`] takes its `session`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.begun
            || self.writer.state().removals > self.removals
            || self.bytes >= self.limits.segment_bytes
            || self.age.saturating_add(self.began.elapsed()) >= self.limits.segment_age
    }

    /// Begins a new segment.
    pub fn begin(&mut self, session: StoredEvent) {
        self.bytes = session.text.len() as u64;
        (self.began, self.age) = (Instant::now(), Duration::ZERO);
        self.begun = true;
        self.removals = self.writer.state().removals;
        self.writer.rotate(session);
    }

    /// Stores events; a gap of the previous that is over comes back.
    pub fn store(&mut self, events: Vec<StoredEvent>) -> Option<Notice> {
        self.bytes += events.iter().map(|event| event.text.len() as u64).sum::<u64>();
        self.writer.store(events)
    }

    /// Waits until everything is written, or can't be; gives the gaps that are over and have no `loss` yet.
    pub fn flush(&mut self, patience: Duration) -> Vec<Notice> {
        let overrun = self.writer.flush(patience);
        let noticed = std::iter::from_fn(|| self.notices.try_recv().ok());
        overrun.into_iter().chain(noticed).collect()
    }

    /// Other limits from now on; false when a disk that hangs keeps the old ones.
    #[must_use]
    pub fn reload(&mut self, files: &Files) -> bool {
        let limits = limits(files);
        let taken = self.writer.reload(limits);
        if taken {
            self.limits = limits;
        }
        taken
    }

    /// How many events could not be stored and have no `loss`, and why.
    #[must_use]
    pub fn unrecorded(&self) -> Option<(u64, String)> {
        self.writer.unrecorded()
    }

    /// What it does at the moment.
    #[must_use]
    pub fn state(&self) -> WriterState {
        self.writer.state()
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Writes and seals what is left; false when the disk did not take it in time.
    #[must_use]
    pub fn finish(self, patience: Duration) -> bool {
        self.writer.finish(patience)
    }
}

/// The limits of the store by the settings.
fn limits(files: &Files) -> Limits {
    let hours = |n: u64| Duration::from_secs(n.saturating_mul(3600));
    Limits {
        segment_bytes: files.segment_bytes,
        segment_age: hours(files.segment_hours),
        keep_bytes: files.keep_bytes,
        keep_age: hours(files.keep_days.saturating_mul(24)),
        seal_after: Duration::from_secs(files.seal_seconds),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::OpenedStore;
    use crate::{
        cli::config::Files,
        store::{Folder, segment::Current},
    };

    #[test]
    fn a_segment_is_closed_for_its_age_whichever_run_began_it() {
        for (hours, old) in [(1, false), (30, true)] {
            let dir = tempfile::tempdir().expect("a folder");
            let folder = Folder::at(dir.path());
            let begun = Timestamp::now() - Duration::from_secs(hours * 3600);
            let segment = folder.next(None, begun);
            assert_eq!(segment.begun().map(Timestamp::as_second), Some(begun.as_second()));
            drop(Current::create(&folder, segment, None).expect("room"));
            std::fs::write(
                folder.segments().expect("readable")[0].events.clone().expect("events"),
                "{\"seq\":1,\"time\":\"2026-11-22T14:32:15Z\"}\n",
            )
            .expect("room");
            let taken = OpenedStore::open(dir.path(), &Files::default()).expect("free");
            let mut storage = taken.start().expect("a thread");
            assert_eq!(storage.is_full(), old, "{hours} hours");
            storage.age = Duration::ZERO;
            storage.limits.segment_age = Duration::from_millis(1);
            std::thread::sleep(Duration::from_millis(2));
            assert!(storage.is_full());
            assert!(storage.finish(Duration::from_secs(10)));
        }
    }
}
