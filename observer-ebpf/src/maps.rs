//! Every map: what the programs share with each other and with userspace.
//!
//! **Bounded:** all memory of the programs is declared here. Keys and values are 2,996,744 bytes (2.9 MiB) that the processors
//! share and 197,184 bytes (192 KiB) for each processor; an assertion at the end of this file holds both sums. Not in them: the
//! ring of `aya_log` (4 KiB, or 128 KiB when the log is on), and what the kernel adds. `memlock` of all maps is 3.9 MiB on Linux
//! 6.18 with two processors, and 1 MiB more when [`WATCHED`] is full.
//!
//! The circle around this file is deliberate. Maps are sized by types of [`crate::oom`], [`crate::path_cache`],
//! [`crate::pattern_cache`] and [`crate::scratch`], and those files use the maps. If each file declared its own maps, no place
//! would show the sum.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use observer_common::{
    loss::SLOTS,
    settings::{PORT_WORDS, SETTINGS as SETTINGS_LEN, WATCHED as WATCHED_LEN},
    signal::{NoteKey, Sender, SenderKey, SignalNote},
    socket::{REFUSALS as REFUSALS_LEN, RefusalCount, RefusalKey},
};

use crate::{
    fair::{SHARE_PLACES, Share, ShareKey},
    oom::OomControl,
    path_cache::{CachedPath, PATH_PLACES},
    pattern_cache::Pattern,
    scratch::Scratch,
};

/// A ring of one family, so that a burst of one family cannot fill the ring of another. [`crate::fair`] shares it out.
pub(crate) trait Ring {
    const BYTES: u64;
    const ID: u32;
    /// How much of it one origin may have outstanding, in parts of what is free.
    const TIMES: u64;
    fn map() -> &'static RingBuf;
}

macro_rules! ring {
    ($map:ident, $ring:ident, $id:literal, $kib:literal, $times:literal) => {
        #[map]
        static $map: RingBuf = RingBuf::with_byte_size($kib * 1024, 0);

        pub(crate) struct $ring;

        impl Ring for $ring {
            const BYTES: u64 = $kib * 1024;
            const ID: u32 = $id;
            const TIMES: u64 = $times;

            #[inline(always)]
            fn map() -> &'static RingBuf {
                &$map
            }
        }
    };
}

// An OOM record is about 1 KiB: room for 250 kills.
ring!(OOM_RING, OomRing, 0, 256, 1);
// Who begins and ends to serve, about 500 bytes each: room for 500. With a drain every 10 ms that is 50,000 a second.
ring!(PORT_RING, PortRing, 1, 256, 16);
// A refused bind is about 600 bytes: room for 430. Of one key 32 a second are told: `refusal.rs`.
ring!(REFUSAL_RING, RefusalRing, 2, 256, 1);
// An exit is 250 to 600 bytes, or 64 when it is like an earlier one: room for 1,800 to 16,000 deaths while the reader does
// not run, and for one origin seven eighths of it.
ring!(EXIT_RING, ExitRing, 3, 1024, 16);

/// What each origin has outstanding in each ring.
#[map]
pub(crate) static SHARES: LruHashMap<ShareKey, Share> =
    LruHashMap::with_max_entries(SHARE_PLACES, 0);

/// Refusals that are counted. Userspace reads the counts, and removes those that are quiet.
#[map]
pub(crate) static REFUSALS: HashMap<RefusalKey, RefusalCount> =
    HashMap::with_max_entries(REFUSALS_LEN, 0);

/// Counters of dropped records, one a program. A single entry, which userspace reads after each drain with one call.
#[map]
static LOST: PerCpuArray<[u64; SLOTS as usize]> = PerCpuArray::with_max_entries(1, 0);

/// Settings that userspace may change while the programs run.
#[map]
static SETTINGS: Array<u32> = Array::with_max_entries(SETTINGS_LEN, 0);

/// Ports of which the iterator reports connections too, not only listeners: one bit a port.
#[map]
pub(crate) static PORTS_WANTED: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

/// Processes that serve a port: their deaths are reported whatever the exit code. Not preallocated, since there are usually a
/// few dozen.
#[map]
pub(crate) static WATCHED: HashMap<u32, u32> =
    HashMap::with_max_entries(WATCHED_LEN, aya_ebpf::bindings::BPF_F_NO_PREALLOC);

/// For each target the last signals that may end it.
#[map]
pub(crate) static NOTES: LruHashMap<NoteKey, SignalNote> =
    LruHashMap::with_max_entries(NOTE_PLACES, 0);
const NOTE_PLACES: u32 = 6144;

/// When the last note was made for any of the processes whose ids share a slot: a process that started later has no note.
#[map]
static NOTED: Array<u64> = Array::with_max_entries(NOTED_SLOTS, 0);
const NOTED_SLOTS: u32 = 4096;
/// Two CPUs may write one slot in the wrong order; this slack is longer than they can differ by.
const NOTED_SLACK_NS: u64 = 1_000_000_000;

/// The processes that sent those signals.
#[map]
pub(crate) static SENDERS: LruHashMap<SenderKey, Sender> =
    LruHashMap::with_max_entries(SENDER_PLACES, 0);
const SENDER_PLACES: u32 = 256;

/// `oom_control` of each OOM kill in progress, by the thread that runs it.
#[map]
pub(crate) static OOM_CONTROLS: LruHashMap<u64, OomControl> =
    LruHashMap::with_max_entries(OOM_PLACES, 0);
const OOM_PLACES: u32 = 64;

/// The last death reported on each CPU, as (start time, tgid): one exit program leaves it for the next.
#[map]
pub(crate) static LAST_EXIT: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// The cache of [`crate::pattern_cache`]: [`PATTERN_PLACES`] deaths on each CPU, 1 KiB each.
#[map]
pub(crate) static PATTERNS: PerCpuArray<Pattern> = PerCpuArray::with_max_entries(PATTERN_PLACES, 0);
/// A power of two.
pub(crate) const PATTERN_PLACES: u32 = 16;

/// The cache of [`crate::path_cache`]: [`PATH_PLACES`] paths on each CPU, 256 bytes each.
#[map]
pub(crate) static REMEMBERED: PerCpuArray<CachedPath> =
    PerCpuArray::with_max_entries(PATH_PLACES, 0);

/// Memory to build a record in: 12 KiB for each program on each CPU.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SLOTS, 0);

/// Counts one record that the program of `slot` had to drop.
#[inline(always)]
pub(crate) fn count_lost(slot: u32) {
    if let Some(counts) = LOST.get_ptr_mut(0)
        && slot < SLOTS
    {
        // SAFETY: inside the value; the counter belongs to this CPU, and no program runs twice at once on one CPU.
        unsafe { *counts.cast::<u64>().add(slot as usize) += 1 };
    }
}

/// A setting; 0 when it was never set.
#[inline(always)]
pub(crate) fn setting(index: u32) -> u32 {
    SETTINGS.get(index).copied().unwrap_or(0)
}

/// Marks that a process has a note from `now_ns` on.
#[inline(always)]
pub(crate) fn mark_noted(tgid: u32, now_ns: u64) {
    if let Some(last) = NOTED.get_ptr_mut(tgid % NOTED_SLOTS) {
        // SAFETY: aligned, in a map that lives as long as the programs; one store, and the slack covers its races.
        unsafe { core::ptr::write_volatile(last, now_ns) };
    }
}

/// Whether a process that was started then may have notes. Most have none, and this saves them three lookups.
#[inline(always)]
pub(crate) fn may_have_notes(tgid: u32, start_ns: u64) -> bool {
    NOTED.get(tgid % NOTED_SLOTS).is_none_or(|last| {
        // SAFETY: as in `mark_noted`.
        let last = unsafe { core::ptr::read_volatile(last) };
        last != 0 && last.saturating_add(NOTED_SLACK_NS) >= start_ns
    })
}

/// Keys and values of every map that the processors share.
const BYTES: usize = (OomRing::BYTES + PortRing::BYTES + RefusalRing::BYTES + ExitRing::BYTES)
    as usize
    + SHARE_PLACES as usize * (size_of::<ShareKey>() + size_of::<Share>())
    + REFUSALS_LEN as usize * (size_of::<RefusalKey>() + size_of::<RefusalCount>())
    + SETTINGS_LEN as usize * size_of::<u32>()
    + PORT_WORDS as usize * size_of::<u64>()
    + WATCHED_LEN as usize * size_of::<[u32; 2]>()
    + NOTE_PLACES as usize * (size_of::<NoteKey>() + size_of::<SignalNote>())
    + NOTED_SLOTS as usize * size_of::<u64>()
    + SENDER_PLACES as usize * (size_of::<SenderKey>() + size_of::<Sender>())
    + OOM_PLACES as usize * (size_of::<u64>() + size_of::<OomControl>());

/// Values of every map that each processor has for itself.
const CPU_BYTES: usize = size_of::<[u64; SLOTS as usize]>()
    + size_of::<[u64; 2]>()
    + PATTERN_PLACES as usize * size_of::<Pattern>()
    + PATH_PLACES as usize * size_of::<CachedPath>()
    + SLOTS as usize * size_of::<Scratch>();

const _: () = assert!(BYTES == 2_996_744 && CPU_BYTES == 197_184, "update the first comment");
