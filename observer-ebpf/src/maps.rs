//! Everything shared between programs, and with userspace. Memory is bounded here, in one place.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use observer_common::{
    loss::SLOTS,
    settings::{PORT_WORDS, SETTINGS as SETTINGS_LEN, WATCHED as WATCHED_LEN},
    signal::{NoteKey, Sender, SenderKey, SignalNote},
};

use crate::{
    oom::OomControl,
    path_cache::{CachedPath, PATH_PLACES},
    pattern_cache::Pattern,
    scratch::Scratch,
};

// Rings, one per family, so that a storm in one can't push out another. An OOM record is about 1 KiB: room for 250 kills.
#[map]
pub(crate) static OOM_RING: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);
// A refused bind is about 600 bytes: room for 850, at 10 ms a drain 85,000 a second.
#[map]
pub(crate) static PORT_RING: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);
// An exit is 250 to 600 bytes, and 72 where it is like one before it: room for 1,800 to 14,500 deaths while the reader does
// not run.
#[map]
pub(crate) static EXIT_RING: RingBuf = RingBuf::with_byte_size(1024 * 1024, 0);

/// What each program could not deliver: one entry, since userspace asks after each drain.
#[map]
static LOST: PerCpuArray<[u64; SLOTS as usize]> = PerCpuArray::with_max_entries(1, 0);

/// Settings that userspace may change while the programs run.
#[map]
static SETTINGS: Array<u32> = Array::with_max_entries(SETTINGS_LEN, 0);

/// Ports whose connections the iterator yields too, not only their listeners: a bit each.
#[map]
pub(crate) static PORTS_WANTED: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

/// Processes that serve a port: their deaths are reported whatever the exit code. Not preallocated: usually a few dozen.
#[map]
pub(crate) static WATCHED: HashMap<u32, u32> =
    HashMap::with_max_entries(WATCHED_LEN, aya_ebpf::bindings::BPF_F_NO_PREALLOC);

/// The last signals of each target that may end it: 8,192 notes are about 1 MiB.
#[map]
pub(crate) static NOTES: LruHashMap<NoteKey, SignalNote> = LruHashMap::with_max_entries(8192, 0);

/// When the last note was made of any of the processes whose ids share a slot: who was started later has none.
#[map]
static NOTED: Array<u64> = Array::with_max_entries(NOTED_SLOTS, 0);
const NOTED_SLOTS: u32 = 4096;
/// Two CPUs may write the same slot, the later one first: so much later it does not matter any more.
const NOTED_SLACK_NS: u64 = 1_000_000_000;

/// The processes that sent them: 256 are about 300 KiB.
#[map]
pub(crate) static SENDERS: LruHashMap<SenderKey, Sender> = LruHashMap::with_max_entries(256, 0);

/// `oom_control` of the OOM kills under way, by the thread that runs them.
#[map]
pub(crate) static OOM_CONTROLS: LruHashMap<u64, OomControl> = LruHashMap::with_max_entries(64, 0);

/// Who was reported last on each CPU, by one exit program for the next: (start time, tgid).
#[map]
pub(crate) static LAST_EXIT: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// Deaths that later ones may be like: [`PATTERN_PLACES`] on each CPU, 1 KiB each.
#[map]
pub(crate) static PATTERNS: PerCpuArray<Pattern> = PerCpuArray::with_max_entries(PATTERN_PLACES, 0);
/// A power of two.
pub(crate) const PATTERN_PLACES: u32 = 16;

/// Paths by the places of [`crate::path_cache`]: 8 KiB on each CPU.
#[map]
pub(crate) static REMEMBERED: PerCpuArray<CachedPath> =
    PerCpuArray::with_max_entries(PATH_PLACES, 0);

/// Room to build a record: 12 KiB for each program on each CPU.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SLOTS, 0);

/// Counts one record that the program in `slot` could not deliver.
#[inline(always)]
pub(crate) fn count_lost(slot: u32) {
    if let Some(counts) = LOST.get_ptr_mut(0)
        && slot < SLOTS
    {
        // SAFETY: inside the value; this CPU's counter of a program that does not run twice at once on one CPU.
        unsafe { *counts.cast::<u64>().add(slot as usize) += 1 };
    }
}

/// A setting; 0 when it was never set.
#[inline(always)]
pub(crate) fn setting(index: u32) -> u32 {
    SETTINGS.get(index).copied().unwrap_or(0)
}

/// Says that a process has a note from `now_ns` on.
#[inline(always)]
pub(crate) fn note_made(tgid: u32, now_ns: u64) {
    if let Some(last) = NOTED.get_ptr_mut(tgid % NOTED_SLOTS) {
        // SAFETY: aligned, in a map that lives as long as the programs; one store, whose races the slack covers.
        unsafe { core::ptr::write_volatile(last, now_ns) };
    }
}

/// Whether a process that was started then may have notes. Most have none, and three look-ups are dear.
#[inline(always)]
pub(crate) fn may_have_notes(tgid: u32, start_ns: u64) -> bool {
    NOTED.get(tgid % NOTED_SLOTS).is_none_or(|last| {
        // SAFETY: as in `note_made`.
        let last = unsafe { core::ptr::read_volatile(last) };
        last != 0 && last.saturating_add(NOTED_SLACK_NS) >= start_ns
    })
}
