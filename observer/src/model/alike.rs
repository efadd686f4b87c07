//! What deaths that are alike have in common, and what not.
//!
//! **Invariant:** two deaths of one [`Shape`] are equal once one of them has the [`Numbers`] of the other.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{ExitEvent, Process, Time};

/// Names deaths of one observer that differ in their [`Numbers`] alone. It never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(NonZeroU64);

impl Shape {
    /// One that no death has.
    #[must_use]
    pub fn new() -> Option<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        NonZeroU64::new(LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1)).map(Self)
    }

    /// For tables with that many places.
    #[must_use]
    pub fn place(self, places: usize) -> usize {
        usize::try_from(self.0.get()).unwrap_or(0) % places
    }
}

/// What differs between deaths of one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// [`Process::pid`].
    pub pid: u32,
    /// [`Process::start_time`].
    pub start_time: Time,
    /// [`Process::ppid`], and that of [`Process::parent`].
    pub ppid: u32,
    /// [`Process::ns_pid`], where there is one.
    pub ns_pid: u32,
    /// [`ExitEvent::lifetime_seconds`].
    pub lifetime_seconds: f64,
    /// [`ExitEvent::peak_rss_bytes`], where there is one.
    pub peak_rss_bytes: u64,
}

impl ExitEvent {
    /// Makes it the death with these numbers.
    pub fn put(&mut self, numbers: &Numbers) {
        let own = (self.process.pid, self.process.start_time);
        self.process.put(numbers);
        let is_own = |sender: &Process| (sender.pid, sender.start_time) == own;
        if self.cause.sender.as_deref().is_some_and(is_own)
            && let Some(sender) = &mut Arc::make_mut(&mut self.cause).sender
        {
            sender.put(numbers);
        }
        self.lifetime_seconds = numbers.lifetime_seconds;
        if let Some(peak) = &mut self.peak_rss_bytes {
            *peak = numbers.peak_rss_bytes;
        }
    }
}

impl Process {
    fn put(&mut self, numbers: &Numbers) {
        self.pid = numbers.pid;
        self.start_time = Some(numbers.start_time);
        self.ppid = Some(numbers.ppid);
        if let Some(parent) = &mut self.parent {
            parent.pid = numbers.ppid;
        }
        if let Some(ns_pid) = &mut self.ns_pid {
            *ns_pid = numbers.ns_pid;
        }
    }
}
