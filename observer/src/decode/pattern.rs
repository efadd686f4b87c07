//! Deaths that were sent as what makes them differ from an earlier one: `observer-ebpf/src/pattern_cache.rs`.
//!
//! **Bounded:** one pattern for each place: 2^[`PATTERN_PLACE_BITS`].

use std::{borrow::Cow, collections::HashMap};

use bytes::{Bytes, BytesMut};
use observer_common::{
    exit::{ExitRecord, LikeRecord, PATTERN_PLACE_BITS},
    header::{Header, KIND_EXIT, KIND_EXIT_LIKE},
    signal::SignalNote,
    task::TaskRecord,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// The last pattern of each place, as the kernel side has them.
#[derive(Debug, Default)]
pub struct Patterns(HashMap<u32, (u32, Bytes)>);

/// A record, and the pattern that completes it.
#[derive(Clone, Debug)]
pub struct Partial<'a> {
    record: &'a Bytes,
    pattern: Option<Bytes>,
    /// The id of the pattern that this record is.
    pub new_pattern: Option<u32>,
}

impl Patterns {
    /// Takes the next record, in the order of the ring: a pattern comes before the records that refer to it.
    pub fn read<'a>(&mut self, record: &'a Bytes) -> Partial<'a> {
        let kind = Header::read_from_prefix(record).map_or(0, |(header, _)| header.kind);
        let pattern = if kind == KIND_EXIT_LIKE { self.of(record) } else { None };
        let new_pattern = if kind == KIND_EXIT { self.keep(record) } else { None };
        Partial { record, pattern, new_pattern }
    }

    fn keep(&mut self, record: &Bytes) -> Option<u32> {
        let (exit, _) = ExitRecord::read_from_prefix(record).ok()?;
        let pattern = Some(exit.pattern).filter(|pattern| *pattern != 0)?;
        // A copy, since the record shares its memory with the whole drain.
        let copy = Bytes::copy_from_slice(record);
        self.0.insert(place(pattern), (pattern, copy));
        Some(pattern)
    }

    fn of(&self, record: &Bytes) -> Option<Bytes> {
        let like = LikeRecord::read_from_bytes(record).ok()?;
        let (pattern, bytes) = self.0.get(&place(like.pattern))?;
        (*pattern == like.pattern).then(|| bytes.clone())
    }
}

/// The id by which later records name this one; `None` when none can.
#[must_use]
pub fn pattern_id(record: &[u8]) -> Option<u32> {
    let (header, _) = Header::read_from_prefix(record).ok()?;
    if header.kind != KIND_EXIT {
        return None;
    }
    let (exit, _) = ExitRecord::read_from_prefix(record).ok()?;
    (exit.pattern != 0).then_some(exit.pattern)
}

fn place(pattern: u32) -> u32 {
    pattern & ((1 << PATTERN_PLACE_BITS) - 1)
}

impl<'a> Partial<'a> {
    /// What makes the death differ from its pattern, where it was sent like that and the pattern is known.
    #[must_use]
    pub fn like(&self) -> Option<LikeRecord> {
        self.pattern.as_ref()?;
        LikeRecord::read_from_bytes(self.record).ok()
    }

    /// The whole record; unchanged if it is whole already, or if its pattern is unknown.
    #[must_use]
    pub fn whole(&self) -> Cow<'a, Bytes> {
        let whole = self.pattern.as_ref().and_then(|pattern| complete(self.record, pattern));
        whole.map_or(Cow::Borrowed(self.record), Cow::Owned)
    }
}

/// Fills the differences into the pattern; `None` if one of the two is too short.
fn complete(record: &Bytes, pattern: &Bytes) -> Option<Bytes> {
    let like = LikeRecord::read_from_bytes(record).ok()?;
    let (mut exit, rest) = ExitRecord::read_from_prefix(pattern).ok()?;
    let (mut task, segments) = TaskRecord::read_from_prefix(rest).ok()?;
    exit.header.time_ns = like.header.time_ns;
    exit.status = like.status.into();
    exit.peak_rss_pages = like.peak_rss_pages.into();
    task.start_time_ns = like.start_time_ns;
    task.mm = like.mm;
    task.tgid = like.tgid;
    task.ppid = like.ppid;
    task.ns_pid = like.ns_pid;
    let mut whole = BytesMut::with_capacity(pattern.len());
    for part in [exit.as_bytes(), task.as_bytes(), segments] {
        whole.extend_from_slice(part);
    }
    if exit.notes == 1 {
        let (was, at) = (own(pattern)?, note_at(&task));
        let (mut note, _) = SignalNote::read_from_prefix(whole.get(at..)?).ok()?;
        note.time_ns = like.header.time_ns.saturating_sub(like.note_age_ns.into());
        note.target_start_ns = like.start_time_ns;
        let sender = &mut note.sender;
        if (sender.tgid, sender.start_time_ns) == was {
            (sender.tgid, sender.start_time_ns) = own(&whole)?;
        }
        note.write_to_prefix(&mut whole[at..]).ok()?;
    }
    Some(whole.freeze())
}

/// The process that died, as a note names a sender.
fn own(record: &[u8]) -> Option<(u32, u64)> {
    let (_, rest) = ExitRecord::read_from_prefix(record).ok()?;
    let (task, _) = TaskRecord::read_from_prefix(rest).ok()?;
    Some((task.tgid, task.start_time_ns))
}

/// Where the first note begins.
fn note_at(task: &TaskRecord) -> usize {
    let segments = [task.exe_len, task.cgroup_len, task.args_len].map(usize::from);
    let end = size_of::<ExitRecord>() + size_of::<TaskRecord>() + segments.iter().sum::<usize>();
    end.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{
        DecodeError, KernelEvent, decode,
        samples::{exit, exit_bytes, like_bytes, note},
    };

    fn full(pid: u32, pattern: u32) -> Bytes {
        let mut death = exit(pid, 0x100);
        death.record.pattern = pattern;
        exit_bytes(&death)
    }

    #[test]
    fn a_short_record_is_completed() {
        let mut patterns = Patterns::default();
        let mut later = exit(21, 9);
        later.time_ns += 7;
        later.record.peak_rss_pages = 1;
        (later.task.record.ppid, later.task.record.ns_pid) = (5, 3);
        later.record.pattern = 0x1_0003;
        patterns.read(&full(20, 0x1_0003));
        assert_eq!(
            patterns.read(&like_bytes(&later, 0x1_0003)).whole()[..],
            exit_bytes(&later)[..]
        );
        // Other records stay as they are.
        let own = full(22, 0);
        assert_eq!(*patterns.read(&own).whole(), own);
    }

    #[test]
    fn the_fatal_signal_is_completed() {
        let killed = |pid: u32, sender: u32| {
            let mut death = exit(pid, 9);
            let mut note = note(9, sender);
            note.record.time_ns += u64::from(pid);
            note.record.target_start_ns = death.task.record.start_time_ns;
            if sender == pid {
                note.sender = None;
            }
            death.notes.push(note);
            death
        };
        // Sent by another process, and by itself.
        for (first, second) in [(50, 50), (20, 21)] {
            let mut patterns = Patterns::default();
            let mut pattern = killed(20, first);
            pattern.record.pattern = 0x1_0003;
            patterns.read(&exit_bytes(&pattern));
            let mut later = killed(21, second);
            later.record.pattern = 0x1_0003;
            let whole = exit_bytes(&later);
            assert_eq!(patterns.read(&like_bytes(&later, 0x1_0003)).whole()[..], whole[..]);
        }
    }

    #[test]
    fn only_the_last_pattern_of_a_place_counts() {
        let mut patterns = Patterns::default();
        patterns.read(&full(20, 0x1_0003));
        patterns.read(&full(20, 0x2_0003));
        for stranger in [0x1_0003, 0x2_0004, 0] {
            let record = like_bytes(&exit(21, 9), stranger);
            let error = decode(&patterns.read(&record).whole()).map(|_: KernelEvent| ());
            assert_eq!(error, Err(DecodeError::Pattern));
        }
    }
}
