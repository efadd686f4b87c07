//! Events on their way into the record: lines, new segments, and gaps that become events.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    config::Files,
    model::{Body, Event},
    records::{
        Folder, Line, Notice, Recorder, Settings, folder::group_id, gap::Note, keeper, open,
        writer::State,
    },
};

/// The record of a service.
pub struct Recording {
    recorder: Recorder,
    /// What the thread that writes has to tell.
    pub notices: UnboundedReceiver<Notice>,
    settings: Settings,
    folder: Folder,
    bytes: u64,
    began: Instant,
    /// How old the segment was then: one that another run began does not become young.
    age: Duration,
    begun: bool,
    _lock: std::fs::File,
}

/// What the record has from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The last event.
    pub last: Option<open::Last>,
    /// The last run was stopped in order.
    pub clean: bool,
    /// What it could neither record nor tell.
    pub unrecorded: Option<Notice>,
}

/// A folder that was taken over, before anything is written.
pub struct Taken {
    folder: Folder,
    found: open::Found,
    note: Note,
    settings: Settings,
    lock: std::fs::File,
    /// What it has from earlier runs.
    pub past: Past,
}

impl Past {
    /// Numbers go on after all that were given, recorded or not.
    fn of(found: &open::Found, unrecorded: Option<Notice>) -> Self {
        let lost = unrecorded.as_ref().map(|lost| open::Last { seq: lost.seq, time: lost.to });
        let last = found.last.into_iter().chain(lost).max_by_key(|last| last.seq);
        Self { last, clean: found.clean, unrecorded }
    }
}

impl Taken {
    /// Takes the folder over; fails when another service has it.
    pub fn open(dir: &std::path::Path, files: &Files) -> Result<Self> {
        let group = group_id(&files.group);
        if group.is_none() {
            tracing::warn!("there is no group {}: only root reads the record", files.group);
        }
        let folder = Folder::create(dir, group)?;
        let lock = folder.lock()?;
        let note = Note::open(&folder)?;
        let found = open::open(&folder)?;
        if let Some(why) = &found.left {
            tracing::warn!(
                "a new segment begins, the newest one is left as it is: {why}; see `observer verify`"
            );
        }
        if found.torn > 0 {
            tracing::warn!("a torn record of {} bytes was set aside", found.torn);
        }
        let past = Past::of(&found, note.told.clone());
        Ok(Self { folder, found, note, settings: files.settings(), lock, past })
    }

    /// Starts the thread that writes: it has the rights that the caller has by then.
    pub fn start(self) -> Result<Recording> {
        let Self { folder, found, note, settings, lock, past: _ } = self;
        keeper::compress_rest(&folder, &folder.own_segments()?);
        let bytes = found.current.as_ref().map(|current| current.len);
        let since = found.current.as_ref().and_then(|current| current.segment.begun());
        let age = since.map_or(Duration::ZERO, |since| {
            // A clock that was set back makes it young, not old.
            Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default()
        });
        let (sender, notices) = unbounded_channel();
        let recorder = Recorder::start(folder.clone(), settings, found, note, move |notice| {
            // Nobody listens any more when the service ends.
            let _ = sender.send(notice);
        })?;
        let began = Instant::now();
        let begun = bytes.is_some_and(|bytes| bytes < settings.segment_bytes);
        let bytes = bytes.unwrap_or(0);
        Ok(Recording { recorder, notices, settings, folder, bytes, began, age, begun, _lock: lock })
    }
}

impl Recording {
    /// Whether a new segment should begin: [`Self::begin`] takes its `session`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.begun
            || self.bytes >= self.settings.segment_bytes
            || self.age.saturating_add(self.began.elapsed()) >= self.settings.segment_age
    }

    /// Begins a new segment.
    pub fn begin(&mut self, session: &Event) -> Result<()> {
        let line = line(session)?;
        self.bytes = line.text.len() as u64;
        (self.began, self.age) = (Instant::now(), Duration::ZERO);
        self.begun = true;
        self.recorder.rotate(line);
        Ok(())
    }

    /// Records lines; a gap of the past that is over comes back.
    pub fn record(&mut self, lines: Vec<Line>) -> Option<Notice> {
        self.bytes += lines.iter().map(|line| line.text.len() as u64).sum::<u64>();
        self.recorder.record(lines)
    }

    /// Waits until everything is written, or can't be; gives the gaps that are over and were not told yet.
    pub fn settle(&mut self) -> Vec<Notice> {
        let overrun = self.recorder.settle(Duration::from_secs(5));
        let told = std::iter::from_fn(|| self.notices.try_recv().ok());
        overrun.into_iter().chain(told).collect()
    }

    /// Other limits from now on; false when a disk that hangs keeps the old ones.
    #[must_use]
    pub fn reload(&mut self, files: &Files) -> bool {
        let settings = files.settings();
        let taken = self.recorder.reload(settings);
        if taken {
            self.settings = settings;
        }
        taken
    }

    /// How many events are in no record and were not told as lost, and why.
    #[must_use]
    pub fn unrecorded(&self) -> Option<(u64, String)> {
        self.recorder.unrecorded()
    }

    /// What it does at the moment.
    #[must_use]
    pub fn state(&self) -> State {
        self.recorder.state()
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Writes and seals what is left; false when the disk did not take it in time.
    #[must_use]
    pub fn finish(self) -> bool {
        self.recorder.finish(Duration::from_secs(10))
    }
}

/// An event as the record has it.
pub fn line(event: &Event) -> Result<Line> {
    let mut text = serde_json::to_vec(event)?;
    text.push(b'\n');
    let lost = match &event.body {
        Body::Loss(loss) => loss.lost.clone(),
        _ => BTreeMap::new(),
    };
    Ok(Line {
        text: Bytes::from(text),
        seq: event.seq,
        kind: event.body.kind(),
        lost,
        time: event.time.0,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::Taken;
    use crate::{
        config::Files,
        records::{Folder, segment::Current},
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
            let taken = Taken::open(dir.path(), &Files::default()).expect("free");
            let mut recording = taken.start().expect("a thread");
            assert_eq!(recording.is_full(), old, "{hours} hours");
            recording.age = Duration::ZERO;
            recording.settings.segment_age = Duration::from_millis(1);
            std::thread::sleep(Duration::from_millis(2));
            assert!(recording.is_full());
            assert!(recording.finish());
        }
    }
}
