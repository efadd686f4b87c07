//! The thread that writes the record: a disk that is slow, full or gone never holds up the live side.

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
    /// Its kind, for counting what could not be written.
    pub kind: Kind,
    /// What it says is lost: when it can't be written either, that must not be lost with it.
    pub lost: BTreeMap<String, u64>,
    /// Its time.
    pub time: Timestamp,
}

/// Batches of events that may wait for the disk: under load each holds 10 ms.
const QUEUE: usize = 256;

/// Why events are lost when it is full.
const SLOW: &str = "the disk was slower than the events";

/// How often to try again while the disk takes nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// What the thread is told.
enum Message {
    Lines(Vec<StoredEvent>),
    /// A new segment begins, with this first line.
    Rotate(StoredEvent),
    Limits(Limits),
    /// Everything before is to be written now or never: says when that is done.
    Settle(SyncSender<()>),
}

/// WriterState that `status` shows.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct WriterState {
    /// Name of the segment that is written, without ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// The last link of the chain of seals: kept elsewhere, it proves later that nobody made the record anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Why nothing is recorded at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// How many events could not be recorded since then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unrecorded: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Records events.
pub struct StoreWriter {
    sender: SyncSender<Message>,
    thread: JoinHandle<()>,
    state: Arc<Mutex<WriterState>>,
    overrun: Option<Notice>,
}

impl StoreWriter {
    /// Starts the thread. It goes on with the segment that was found, or waits for [`Self::rotate`]; `notices` is called
    /// from it.
    pub fn start(
        folder: Folder,
        limits: Limits,
        found: OpenFolder,
        note: GapNote,
        notices: impl Fn(Notice) + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let state = Arc::new(Mutex::new(WriterState::default()));
        let writer = Writer {
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
            tried: None,
            state: Arc::clone(&state),
            notices: Box::new(notices),
        };
        let thread = std::thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || writer.run(&receiver))
            .context("can't start the thread that writes the record")?;
        Ok(Self { sender, thread, state, overrun: None })
    }

    /// Hands lines over; what the thread can't take is counted, and given back when it can again.
    pub fn store(&mut self, lines: Vec<StoredEvent>) -> Option<Notice> {
        if lines.is_empty() {
            return None;
        }
        match self.sender.try_send(Message::Lines(lines)) {
            Ok(()) => self.overrun.take(),
            Err(TrySendError::Full(Message::Lines(lines))) => {
                let gap = &mut self.overrun;
                count(gap, &lines, || SLOW.to_owned());
                None
            }
            Err(_) => None,
        }
    }

    /// Begins a new segment with this first line.
    pub fn rotate(&mut self, first: StoredEvent) {
        // A full queue is that of a disk that hangs: the thread must not be waited for, the segment becomes longer.
        if let Err(TrySendError::Full(Message::Rotate(first))) =
            self.sender.try_send(Message::Rotate(first))
        {
            count(&mut self.overrun, &[first], || SLOW.to_owned());
        }
    }

    /// Other limits from now on; false when the thread can't be told, since the disk hangs.
    #[must_use]
    pub fn reload(&self, limits: Limits) -> bool {
        self.sender.try_send(Message::Limits(limits)).is_ok()
    }

    /// How many events could not be written and were not told as lost yet, and why.
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

    /// Waits until everything is written, or can't be; gives back a gap that was not told yet.
    pub fn settle(&mut self, patience: Duration) -> Option<Notice> {
        let (done, settled) = sync_channel(1);
        let sent = self.sender.try_send(Message::Settle(done)).is_ok();
        let settled = sent && settled.recv_timeout(patience).is_ok();
        if settled { self.overrun.take() } else { None }
    }

    /// What it does at the moment.
    #[must_use]
    pub fn state(&self) -> WriterState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes and seals what is left. Waits for the disk, but not for ever: false when it was not done in time.
    #[must_use]
    pub fn finish(self, patience: Duration) -> bool {
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
    limits: Limits,
    newest: Option<super::Segment>,
    current: Option<Current>,
    previous: Option<Previous>,
    /// The first line of a segment that could not be made yet.
    begin: Option<StoredEvent>,
    /// What the next segment has to say of the one before.
    gone: Option<String>,
    /// A torn record that could not be set aside yet: nothing is written over it.
    aside: Option<Vec<u8>>,
    gap: Option<Notice>,
    note: GapNote,
    tried: Option<Instant>,
    state: Arc<Mutex<WriterState>>,
    notices: Box<dyn Fn(Notice) + Send>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        self.keep();
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
                Ok(Message::Lines(lines)) => self.lines(&lines),
                Ok(Message::Rotate(first)) => self.rotate(first),
                Ok(Message::Limits(limits)) => {
                    self.limits = limits;
                    self.keep();
                }
                Ok(Message::Settle(done)) => {
                    self.tried = None;
                    if self.gap.is_some() {
                        self.lines(&[]);
                    }
                    self.show();
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
            self.show();
        }
        self.seal(Why::Stopped);
        if let Some(first) = self.begin.take() {
            count(&mut self.gap, &[first], || "their segment could not be made".to_owned());
        }
        // For the next run: nobody is told any more.
        self.note.write(self.gap.as_ref());
    }

    fn lines(&mut self, lines: &[StoredEvent]) {
        let again = self.tried.is_some_and(|at| at.elapsed() < AGAIN);
        if self.gap.is_some() && again {
            count(&mut self.gap, lines, String::new);
            self.note.failed(lines, self.gap.as_ref());
            return;
        }
        match self.write(lines) {
            Ok(()) => {
                self.tried = None;
                self.note.written(lines);
                if let Some(gap) = self.gap.take() {
                    tracing::info!("recording goes on");
                    // There is room again: it may be gone before the next gap.
                    let _ = self.note.take_room();
                    (self.notices)(self.note.hand_on(gap));
                }
            }
            Err(error) => {
                if self.gap.is_none() {
                    tracing::warn!("nothing is recorded for now: {error}");
                }
                self.tried = Some(Instant::now());
                count(&mut self.gap, lines, || {
                    format!("they could not be written to the record: {error}")
                });
                self.note.failed(lines, self.gap.as_ref());
            }
        }
    }

    fn write(&mut self, lines: &[StoredEvent]) -> io::Result<()> {
        if let (Some(aside), Some(current)) = (&self.aside, &mut self.current) {
            open::set_aside(&self.folder, current, aside, current.len)?;
        }
        self.aside = None;
        self.make_segment()?;
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("no segment was begun"));
        };
        if lines.is_empty() {
            // Nothing can always be written.
            return current.probe();
        }
        let text: Vec<u8> = lines.iter().flat_map(|line| line.text.iter().copied()).collect();
        let hashes: Vec<Hash> = lines.iter().map(|line| Hash::of(&line.text)).collect();
        current.append(&text, &hashes)
    }

    /// The next segment is made now, or when the disk takes it.
    fn rotate(&mut self, first: StoredEvent) {
        if let Some(skipped) = self.begin.replace(first) {
            let reason = || "their segment could not be made".to_owned();
            count(&mut self.gap, &[skipped], reason);
        }
        self.lines(&[]);
        self.keep();
    }

    /// Closes the segment and makes the next one, when there is to be one.
    fn make_segment(&mut self) -> io::Result<()> {
        let Some(first) = &self.begin else { return Ok(()) };
        if let Some(current) = &mut self.current {
            // It stays the one that is written until its last records are sealed: they would be lost to the chain.
            current.seal(&self.folder, Why::Closed)?;
            self.previous = Some(current.previous());
            keeper::compress(&self.folder, vec![current.segment.clone()]);
            self.current = None;
        }
        let segment = self.folder.next(self.newest.as_ref(), Timestamp::now());
        let made = Current::create(&self.folder, segment.clone(), self.previous.clone());
        let made = made.and_then(|mut current| {
            if let Some(segment) = &self.gone {
                current.say(What::Gone { segment: segment.clone() })?;
            }
            current.append(&first.text, &[Hash::of(&first.text)])?;
            Ok(current)
        });
        let current = made.inspect_err(|_error| {
            // The next try has another name.
            keeper::remove(&self.folder, std::slice::from_ref(&segment));
        })?;
        (self.begin, self.gone) = (None, None);
        self.newest = Some(segment);
        self.current = Some(current);
        Ok(())
    }

    fn seal(&mut self, why: Why) {
        let Some(current) = &mut self.current else { return };
        if let Err(error) = current.seal(&self.folder, why) {
            tracing::warn!("the record could not be sealed: {error}");
            // Tried again after the next span.
            current.unsealed_since = current.unsealed_since.map(|_| Instant::now());
        }
    }

    /// Removes what is too old or too much.
    fn keep(&mut self) {
        let newest = self.newest.as_ref().map_or(0, |newest| newest.number);
        let removed = keeper::too_much(&self.folder, &self.limits, newest);
        let Some(last) = removed.last() else { return };
        let retired = What::Retired { number: last.number };
        // First the note, then the deed: a segment that is missing without a note is somebody else's doing.
        if let Some(current) = &mut self.current
            && current.say(retired).is_ok()
        {
            keeper::remove(&self.folder, &removed);
        }
    }

    fn show(&self) {
        let state = WriterState {
            segment: self.current.as_ref().map(|current| current.segment.stem.clone()),
            chain: self.current.as_ref().map(|current| current.chain().to_string()),
            stopped: self.gap.as_ref().map(|gap| gap.reason.clone()),
            unrecorded: self.gap.as_ref().map_or(0, Notice::total),
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}
