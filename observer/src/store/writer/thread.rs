//! The thread behind the queue: writes, seals, begins segments, and makes a folder again that was removed.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{Message, StoredEvent, WriterState};
use crate::store::{
    Folder, Limits, Notice, Segment,
    chain::Hash,
    gap::{GapNote, count},
    keeper, open,
    seal::{Previous, What, Why},
    segment::Current,
};

/// Reason of a loss when a new segment can't be created.
const NO_SEGMENT: &str = "their segment could not be created";

/// While writes fail, events try again at most this often.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    pub(super) folder: Folder,
    /// Device and inode number of the folder that is written to.
    pub(super) identity: Option<(u64, u64)>,
    /// The lock of a folder that took the place of one that was removed.
    pub(super) relocked: Option<std::fs::File>,
    /// The segment was removed; the next one has not begun. And how often that was.
    pub(super) removed: bool,
    pub(super) removals: u64,
    /// Segments up to this number were removed while there was no segment to say it in.
    pub(super) retired: Option<u64>,
    pub(super) last_overrun: Arc<Mutex<Option<Notice>>>,
    pub(super) queued: Arc<AtomicUsize>,
    pub(super) limits: Limits,
    pub(super) newest: Option<Segment>,
    pub(super) current: Option<Current>,
    pub(super) previous: Option<Previous>,
    /// The first event of a segment that could not be created yet.
    pub(super) begin: Option<StoredEvent>,
    /// Segment whose last seal is gone, for the next segment's seals.
    pub(super) gone: Option<String>,
    /// A torn event that could not be set aside yet: nothing is written over it.
    pub(super) aside: Option<Vec<u8>>,
    pub(super) gap: Option<Notice>,
    pub(super) note: GapNote,
    pub(super) last_failure: Option<Instant>,
    pub(super) state: Arc<Mutex<WriterState>>,
    pub(super) notices: Box<dyn Fn(Notice) + Send>,
}

impl Writer {
    pub(super) fn run(mut self, receiver: &Receiver<Message>) {
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
                Ok(Message::Events(events)) => {
                    self.events(&events);
                    let bytes: usize = events.iter().map(|event| event.text.len()).sum();
                    self.queued.fetch_sub(bytes, Ordering::Relaxed);
                }
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
        self.find_folder_again()?;
        self.make_segment()?;
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("there is no segment yet"));
        };
        if events.is_empty() {
            // An empty write always succeeds, even on a full disk.
            return current.probe();
        }
        let text = events.iter().map(|event| &event.text[..]).collect::<Vec<_>>().concat();
        let hashes: Vec<Hash> = events.iter().map(|event| Hash::of(&event.text)).collect();
        let times = events.iter().map(|event| event.time);
        let times = times.clone().min().zip(times.max()).unwrap_or_default();
        current.append(&text, &hashes, times)
    }

    /// Checks that the folder and the segment are still there, and makes the folder again where it is not: what is written to
    /// removed files is gone.
    fn find_folder_again(&mut self) -> io::Result<()> {
        let is_same = match self.folder.identity() {
            Ok(here) => self.identity.is_none_or(|identity| identity == here),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // A disk with errors has lost nothing yet.
            Err(error) => return Err(error),
        };
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
            if let Some(number) = self.retired {
                current.add_entry(What::Retired { number })?;
            }
            current.append(&first.text, &[Hash::of(&first.text)], (first.time, first.time))?;
            Ok(current)
        });
        let current = made.inspect_err(|_error| {
            // The next try has another name.
            keeper::remove(&self.folder, std::slice::from_ref(&segment));
        })?;
        (self.begin, self.gone, self.retired, self.removed) = (None, None, None, false);
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
        if let Some(current) = &mut self.current {
            // First the entry, then the removal: a segment that is missing without an entry was removed by somebody else.
            if current.add_entry(retired).is_err() {
                return;
            }
        } else {
            // The disk has no room for a segment: what is too much makes some. The next segment says so.
            self.retired = Some(last.number);
        }
        keeper::remove(&self.folder, &removed);
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
