//! The thread that writes the store: a disk that is slow, full or gone never delays live events.
//!
//! **Invariant:** while the thread runs, every event is written or counted in a [`Notice`].
//!
//! **Bounded:** [`QUEUE`] batches wait for the disk; more are counted as lost.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;

use super::{
    Folder, Limits, Notice,
    chain::Hash,
    gap::{GapNote, count},
    keeper,
    open::{self, OpenFolder},
    seal::{Previous, What, Why},
    segment::Current,
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

/// Reason of a loss when the queue is full.
const SLOW: &str = "the disk was slower than the events";

/// Reason of a loss when the thread is gone.
const ENDED: &str = "the thread that writes the store has ended";

/// Reason of a loss when a new segment can't be created.
const NO_SEGMENT: &str = "their segment could not be created";

/// While writes fail, events try again at most this often.
const RETRY: Duration = Duration::from_secs(1);

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
        let writer = Writer {
            identity: folder.identity().ok(),
            relocked: None,
            removed: false,
            removals: 0,
            last_overrun: Arc::clone(&last_overrun),
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
        Ok(Self { sender, thread, state, overrun: None, last_overrun })
    }

    /// Sends events to the thread. If its queue is full, counts them as lost; returns that gap once it is over.
    pub fn store(&mut self, events: Vec<StoredEvent>) -> Option<Notice> {
        if events.is_empty() {
            return None;
        }
        match self.sender.try_send(Message::Events(events)) {
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

struct Writer {
    folder: Folder,
    /// Device and inode number of the folder that is written to.
    identity: Option<(u64, u64)>,
    /// The lock of a folder that took the place of one that was removed.
    relocked: Option<std::fs::File>,
    /// The segment was removed; the next one has not begun. And how often that was.
    removed: bool,
    removals: u64,
    last_overrun: Arc<Mutex<Option<Notice>>>,
    limits: Limits,
    newest: Option<super::Segment>,
    current: Option<Current>,
    previous: Option<Previous>,
    /// The first event of a segment that could not be created yet.
    begin: Option<StoredEvent>,
    /// Segment whose last seal is gone, for the next segment's seals.
    gone: Option<String>,
    /// A torn event that could not be set aside yet: nothing is written over it.
    aside: Option<Vec<u8>>,
    gap: Option<Notice>,
    note: GapNote,
    last_failure: Option<Instant>,
    state: Arc<Mutex<WriterState>>,
    notices: Box<dyn Fn(Notice) + Send>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        self.apply_limits();
        loop {
            // No timer while everything is sealed.
            let due = self.current.as_ref().and_then(|c| c.unsealed_since);
            let message = match due {
                None => receiver.recv().map_err(|_closed| RecvTimeoutError::Disconnected),
                Some(since) => {
                    let left = self.limits.seal_after.saturating_sub(since.elapsed());
                    receiver.recv_timeout(left)
                }
            };
            match message {
                Ok(Message::Events(events)) => self.events(&events),
                Ok(Message::Rotate(first)) => self.rotate(first),
                Ok(Message::Limits(limits)) => {
                    self.limits = limits;
                    self.apply_limits();
                }
                Ok(Message::Flush(done)) => {
                    self.last_failure = None;
                    if self.gap.is_some() {
                        self.events(&[]);
                    }
                    self.publish_state();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.seal(Why::Due),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let full = self.current.as_ref().is_some_and(|current| {
                let since = current.unsealed_since;
                current.full() || since.is_some_and(|at| at.elapsed() >= self.limits.seal_after)
            });
            if full {
                self.seal(Why::Due);
            }
            self.publish_state();
        }
        self.seal(Why::Stopped);
        if let Some(first) = self.begin.take() {
            count(&mut self.gap, &[first], || NO_SEGMENT.to_owned());
        }
        let overrun = self.last_overrun.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (&mut self.gap, overrun) {
            (Some(gap), Some(overrun)) => gap.add(overrun),
            (gap @ None, overrun) => *gap = overrun,
            (Some(_), None) => {}
        }
        // For the next run: nobody reads notices any more.
        self.note.write(self.gap.as_ref());
    }

    fn events(&mut self, events: &[StoredEvent]) {
        let is_too_soon = self.last_failure.is_some_and(|at| at.elapsed() < RETRY);
        if self.gap.is_some() && is_too_soon {
            count(&mut self.gap, events, String::new);
            self.note.failed(events, self.gap.as_ref());
            return;
        }
        match self.write(events) {
            Ok(()) => {
                self.last_failure = None;
                self.note.written(events);
                if let Some(gap) = self.gap.take() {
                    tracing::info!("events are stored again");
                    // Allocate now: the room may be gone before the next gap.
                    let _ = self.note.allocate();
                    (self.notices)(self.note.set_pending(gap));
                }
            }
            Err(error) => {
                if self.gap.is_none() {
                    tracing::warn!("can't store events: {error}; the next events try again");
                }
                self.last_failure = Some(Instant::now());
                count(&mut self.gap, events, || {
                    format!("they could not be written to the store: {error}")
                });
                self.note.failed(events, self.gap.as_ref());
            }
        }
    }

    fn write(&mut self, events: &[StoredEvent]) -> io::Result<()> {
        if let (Some(aside), Some(current)) = (&self.aside, &mut self.current) {
            open::set_aside(&self.folder, current, aside, current.len)?;
        }
        self.aside = None;
        self.stand_on_ground()?;
        self.make_segment()?;
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("there is no segment yet"));
        };
        if events.is_empty() {
            // An empty write always succeeds, even on a full disk.
            return current.probe();
        }
        let text: Vec<u8> = events.iter().flat_map(|event| event.text.iter().copied()).collect();
        let hashes: Vec<Hash> = events.iter().map(|event| Hash::of(&event.text)).collect();
        let times = events.iter().map(|event| event.time);
        let times = times.clone().min().zip(times.max()).unwrap_or_default();
        current.append(&text, &hashes, times)
    }

    /// Checks that the folder and the segment are still there, and makes the folder again where it is not: what is written to
    /// removed files is gone.
    fn stand_on_ground(&mut self) -> io::Result<()> {
        let here = self.folder.identity().ok();
        let is_same = here.is_some() && here == self.identity;
        let gone = self.current.as_ref().is_some_and(Current::is_removed);
        if is_same && !gone {
            return Ok(());
        }
        let path = self.folder.path().display();
        if self.current.take().is_some() {
            tracing::warn!("{path} was removed, or its newest segment: another one begins");
            self.removed = true;
            self.removals += 1;
            self.previous = None;
        }
        if !is_same {
            self.folder.make().map_err(io::Error::other)?;
            self.relocked = Some(self.folder.lock().map_err(io::Error::other)?);
            self.identity = Some(self.folder.identity()?);
        }
        self.note.find_again();
        if self.removed && self.begin.is_none() {
            return Err(io::Error::other("its newest segment was removed"));
        }
        Ok(())
    }

    /// Creates the next segment now or, if that fails, with a later write.
    fn rotate(&mut self, first: StoredEvent) {
        if let Some(skipped) = self.begin.replace(first) {
            count(&mut self.gap, &[skipped], || NO_SEGMENT.to_owned());
        }
        if self.removed {
            self.last_failure = None;
        }
        self.events(&[]);
        self.apply_limits();
    }

    /// Closes the segment and creates the next one, if one is due.
    fn make_segment(&mut self) -> io::Result<()> {
        let Some(first) = &self.begin else { return Ok(()) };
        if let Some(current) = &mut self.current {
            // It stays current until its last events are sealed: otherwise the chain would lack them.
            current.seal(&self.folder, Why::Closed)?;
            self.previous = Some(current.previous());
            keeper::compress(&self.folder, vec![current.segment.clone()]);
            self.current = None;
        }
        let segment = self.folder.next(self.newest.as_ref(), Timestamp::now());
        let made = Current::create(&self.folder, segment.clone(), self.previous.clone());
        let made = made.and_then(|mut current| {
            if let Some(segment) = &self.gone {
                current.add_entry(What::Gone { segment: segment.clone() })?;
            }
            current.append(&first.text, &[Hash::of(&first.text)], (first.time, first.time))?;
            Ok(current)
        });
        let current = made.inspect_err(|_error| {
            // The next try has another name.
            keeper::remove(&self.folder, std::slice::from_ref(&segment));
        })?;
        (self.begin, self.gone, self.removed) = (None, None, false);
        self.newest = Some(segment);
        self.current = Some(current);
        Ok(())
    }

    fn seal(&mut self, why: Why) {
        let Some(current) = &mut self.current else { return };
        if let Err(error) = current.seal(&self.folder, why) {
            tracing::warn!("can't seal the last events: {error}; trying again with the next seal");
            // The next try is after another `seal_after`.
            current.unsealed_since = current.unsealed_since.map(|_| Instant::now());
        }
    }

    /// Removes segments beyond the limits.
    fn apply_limits(&mut self) {
        let newest = self.newest.as_ref().map_or(0, |newest| newest.number);
        let removed = keeper::beyond_limits(&self.folder, &self.limits, newest);
        let Some(last) = removed.last() else { return };
        let retired = What::Retired { number: last.number };
        // First the entry, then the removal: a segment that is missing without an entry was removed by somebody else.
        if let Some(current) = &mut self.current
            && current.add_entry(retired).is_ok()
        {
            keeper::remove(&self.folder, &removed);
        }
    }

    fn publish_state(&self) {
        let state = WriterState {
            segment: self.current.as_ref().map(|current| current.segment.stem.clone()),
            chain: self.current.as_ref().map(|current| current.chain().to_string()),
            stopped: self.gap.as_ref().map(|gap| gap.reason.clone()),
            unrecorded: self.gap.as_ref().map_or(0, Notice::total),
            removals: self.removals,
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}
