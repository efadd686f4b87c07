//! The thread that writes the store: a disk that is slow, full or gone never delays live events.
//!
//! **Invariant:** while the thread runs, every event is written or counted in a [`Notice`].
//!
//! **Bounded:** [`QUEUE`] batches of [`QUEUE_BYTES`] wait for the disk; more are counted as lost.

mod thread;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;

use thread::Writer;

use super::{
    Folder, Limits, Notice,
    gap::{GapNote, count},
    open::OpenFolder,
};
use crate::model::Kind;

/// An event as it is written.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its JSON with a line end.
    pub text: Bytes,
    /// Its number.
    pub seq: u64,
    /// Its kind, to count it if it can't be written.
    pub kind: Kind,
    /// The losses that it reports, to count them again if it can't be written.
    pub lost: BTreeMap<String, u64>,
    /// Its time.
    pub time: Timestamp,
}

/// Batches of events that may wait for the disk: under load each holds 10 ms.
const QUEUE: usize = 256;

/// And so many bytes.
const QUEUE_BYTES: usize = 16 << 20;

/// Reason of a loss when the queue is full.
const SLOW: &str = "the disk was slower than the events";

/// Reason of a loss when the thread is gone.
const ENDED: &str = "the thread that writes the store has ended";

/// A message to the thread.
enum Message {
    Events(Vec<StoredEvent>),
    /// Begin a new segment with this first event.
    Rotate(StoredEvent),
    Limits(Limits),
    /// Write everything before, or count it as lost, then answer.
    Flush(SyncSender<()>),
}

/// The thread's state, for `status`.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct WriterState {
    /// Name of the segment that is written, without ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// The last link of the chain of seals: a copy kept elsewhere proves later that nobody forged the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Why nothing can be stored now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// How many events could not be stored since then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unrecorded: u64,
    /// How often the segment was removed: another one should begin.
    #[serde(skip)]
    pub removals: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Stores events, through the thread.
pub struct StoreWriter {
    sender: SyncSender<Message>,
    thread: JoinHandle<()>,
    state: Arc<Mutex<WriterState>>,
    /// How many bytes wait for the thread.
    queued: Arc<AtomicUsize>,
    overrun: Option<Notice>,
    /// What the queue had no room for at the end, for the note.
    last_overrun: Arc<Mutex<Option<Notice>>>,
}

impl StoreWriter {
    /// Starts the thread. It resumes the segment that was found, or waits for [`Self::rotate`]. It calls `notices` with each
    /// gap that is over.
    pub fn start(
        folder: Folder,
        limits: Limits,
        found: OpenFolder,
        note: GapNote,
        notices: impl Fn(Notice) + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let state = Arc::new(Mutex::new(WriterState::default()));
        let last_overrun = Arc::default();
        let queued = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            identity: folder.identity().ok(),
            relocked: None,
            removed: false,
            removals: 0,
            retired: None,
            last_overrun: Arc::clone(&last_overrun),
            queued: Arc::clone(&queued),
            folder,
            limits,
            newest: found.newest,
            current: found.current,
            previous: found.previous,
            begin: None,
            gone: found.gone,
            aside: found.aside,
            gap: None,
            note,
            last_failure: None,
            state: Arc::clone(&state),
            notices: Box::new(notices),
        };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&receiver))
            .context("can't start the thread that writes the store")?;
        Ok(Self { sender, thread, state, queued, overrun: None, last_overrun })
    }

    /// Sends events to the thread. If its queue is full, counts them as lost; returns that gap once it is over.
    pub fn store(&mut self, events: Vec<StoredEvent>) -> Option<Notice> {
        if events.is_empty() {
            return None;
        }
        let bytes: usize = events.iter().map(|event| event.text.len()).sum();
        if self.queued.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            count(&mut self.overrun, &events, || SLOW.to_owned());
            return None;
        }
        // Counted before the thread can take it away.
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        let sent = self.sender.try_send(Message::Events(events));
        if sent.is_err() {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
        }
        match sent {
            Ok(()) => self.overrun.take(),
            Err(TrySendError::Full(Message::Events(events))) => {
                count(&mut self.overrun, &events, || SLOW.to_owned());
                None
            }
            Err(TrySendError::Disconnected(Message::Events(events))) => {
                count(&mut self.overrun, &events, || ENDED.to_owned());
                None
            }
            Err(_) => None,
        }
    }

    /// Begins a new segment with this first event.
    pub fn rotate(&mut self, first: StoredEvent) {
        // A full queue means that the disk hangs: don't wait for the thread, and let the old segment grow.
        if let Err(TrySendError::Full(Message::Rotate(first))) =
            self.sender.try_send(Message::Rotate(first))
        {
            count(&mut self.overrun, &[first], || SLOW.to_owned());
        }
    }

    /// Sets other limits; false if the queue is full, since the disk hangs.
    #[must_use]
    pub fn reload(&self, limits: Limits) -> bool {
        self.sender.try_send(Message::Limits(limits)).is_ok()
    }

    /// How many events could not be stored and were not reported as lost yet, and why.
    #[must_use]
    pub fn unrecorded(&self) -> Option<(u64, String)> {
        let state = self.state();
        let overrun = self.overrun.as_ref().map(|gap| (gap.total(), gap.reason.clone()));
        let (lost, why) = (state.unrecorded, state.stopped);
        let stopped = why.map(|why| (lost, why));
        match (stopped, overrun) {
            (Some((lost, why)), Some((more, _))) => Some((lost.saturating_add(more), why)),
            (stopped, overrun) => stopped.or(overrun),
        }
    }

    /// Waits until everything is written or counted as lost; returns a gap that was not reported yet.
    pub fn flush(&mut self, patience: Duration) -> Option<Notice> {
        let (done, flushed) = sync_channel(1);
        let sent = self.sender.try_send(Message::Flush(done)).is_ok();
        let flushed = sent && flushed.recv_timeout(patience).is_ok();
        if flushed { self.overrun.take() } else { None }
    }

    /// The thread's state.
    #[must_use]
    pub fn state(&self) -> WriterState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes and seals the rest. Waits for the disk at most this long; false if it was not done in time.
    #[must_use]
    pub fn finish(self, patience: Duration) -> bool {
        *self.last_overrun.lock().unwrap_or_else(PoisonError::into_inner) = self.overrun;
        drop(self.sender);
        let until = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.thread.is_finished() && self.thread.join().is_ok()
    }
}
