//! Caches the last death of each pattern: one that is like it differs in its numbers alone, and is made by putting those in.
//!
//! **Policy.** The key is the pattern that the kernel side named and the wait status. A death that is like an earlier one has the
//! same program, arguments, cgroup, limits and signal, with the same sender. So user, unit, container and cause are the same
//! where nothing else decides about them. What else may: an OOM kill, a child that its code reports, a request to stop that came
//! so long before, a port that it served, a name in `/etc/passwd` that changed. A death that one of these may concern takes the
//! long way; [`is_plain`] and [`super::Pipeline::alike`] say which.
//!
//! **Invariant:** the event is the one that the long way makes. An entry is trusted only after another process of its key took the
//! long way and gave the event that the entry gives: where a process id shows in a text, no entry ever is.
//! **Bounded:** [`PLACES`] deaths; a record that can be a pattern has 960 bytes. A newcomer replaces what was in its place.

use std::sync::Arc;

use crate::{
    decode::Exit,
    diagnose::exit::{may_be_oom, seconds_between},
    kernel::clock::Clock,
    model::{Cause, ExitEvent, Numbers, Process, Shape, Time},
};
use observer_common::exit::LikeRecord;

/// Places: each processor has sixteen patterns.
const PLACES: usize = 512;
/// Of them for the statuses of one pattern.
const STATUSES: usize = 2;

/// The last death of each pattern.
pub(super) struct AlikeCache(Box<[Option<Entry>]>);

impl Default for AlikeCache {
    fn default() -> Self {
        Self((0..PLACES).map(|_| None).collect())
    }
}

/// The last death of one pattern.
struct Entry {
    pattern: u32,
    status: u32,
    /// Version of the users' names.
    users: u64,
    exit: Arc<ExitEvent>,
    /// A second death confirmed it: `exit` has a shape.
    trusted: bool,
}

impl AlikeCache {
    /// Learns from a death that took the long way, and names its shape if it is one. `users`: version of the users' names.
    pub(super) fn learn(&mut self, exit: &Exit, event: &mut Arc<ExitEvent>, users: u64) {
        let (pattern, status) = (exit.record.pattern, exit.record.status);
        if pattern == 0 || !is_plain(exit, event) {
            return;
        }
        let slot = &mut self.0[place(pattern, status)];
        let is_same = |entry: &&mut Entry| {
            (entry.pattern, entry.status, entry.users) == (pattern, status, users)
        };
        match slot.as_mut().filter(is_same) {
            Some(entry) if !entry.trusted && gives(&entry.exit, event) => {
                Arc::make_mut(event).shape = Shape::new();
                entry.exit = Arc::clone(event);
                entry.trusted = true;
            }
            Some(entry) if entry.trusted => {}
            _ => {
                let exit = Arc::clone(event);
                *slot = Some(Entry { pattern, status, users, exit, trusted: false });
            }
        }
    }

    /// The death with these numbers; `None` if none like it is known.
    pub(super) fn get(&mut self, like: &LikeRecord, users: u64) -> Option<&mut Arc<ExitEvent>> {
        let entry = self.0[place(like.pattern, like.status.into())].as_mut()?;
        let key = (entry.pattern, entry.status, entry.users);
        let has_peak = entry.exit.peak_rss_bytes.is_some();
        let is_like = entry.trusted
            && key == (like.pattern, like.status.into(), users)
            && has_peak == (like.peak_rss_pages > 0)
            && like.ppid != 0;
        is_like.then_some(&mut entry.exit)
    }

    /// These ids of patterns name others from now on.
    pub(super) fn forget(&mut self, patterns: impl Iterator<Item = u32>) {
        for pattern in patterns {
            for slot in &mut self.0[row(pattern)..][..STATUSES] {
                if slot.as_ref().is_some_and(|entry| entry.pattern == pattern) {
                    *slot = None;
                }
            }
        }
    }
}

/// Whether nothing but its record decided about the event of a death.
fn is_plain(exit: &Exit, event: &ExitEvent) -> bool {
    let Cause { prompted_by, oom_seq, .. } = &*event.cause;
    let reports_a_child = event.status.code.is_some_and(|code| (129..=192).contains(&code));
    prompted_by.is_none()
        && oom_seq.is_none()
        && !reports_a_child
        && !may_be_oom(exit)
        && exit.notes.len() <= 1
        && event.released_total.is_none()
        && event.released.is_empty()
        && event.process.parent.is_some()
}

/// Whether one death with the numbers of another one is the other one. With the same process id that would prove nothing.
fn gives(one: &ExitEvent, other: &ExitEvent) -> bool {
    if one.process.pid == other.process.pid {
        return false;
    }
    let (mut one, Some(numbers)) = (one.clone(), numbers_of(other)) else { return false };
    one.put(&numbers);
    match (serde_json::to_vec(&one), serde_json::to_vec(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn numbers_of(exit: &ExitEvent) -> Option<Numbers> {
    let Process { pid, start_time, ppid, ns_pid, .. } = exit.process;
    Some(Numbers {
        pid,
        start_time: start_time?,
        ppid: ppid?,
        ns_pid: ns_pid.unwrap_or(0),
        lifetime_seconds: exit.lifetime_seconds,
        peak_rss_bytes: exit.peak_rss_bytes.unwrap_or(0),
    })
}

/// The numbers of a death that was sent like another one.
pub(super) fn numbers(like: &LikeRecord, clock: &Clock, page_bytes: u64) -> Numbers {
    Numbers {
        pid: like.tgid,
        start_time: Time(clock.start_time(like.start_time_ns)),
        ppid: like.ppid,
        ns_pid: like.ns_pid,
        lifetime_seconds: seconds_between(like.start_time_ns, like.header.time_ns),
        peak_rss_bytes: u64::from(like.peak_rss_pages).saturating_mul(page_bytes),
    }
}

/// Where the places of a pattern begin, whose low bits count upwards. Each new pattern asks for them: they are few, and together.
fn row(pattern: u32) -> usize {
    (pattern as usize * STATUSES) % PLACES
}

fn place(pattern: u32, status: u32) -> usize {
    row(pattern) + ((status ^ (status >> 8)) as usize) % STATUSES
}
