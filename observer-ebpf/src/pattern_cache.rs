//! The cache of deaths: what a death shares with an earlier one is sent once.
//!
//! In a storm, one program usually ends again and again, or kills many others. Four fifths of a record are the paths, arguments
//! and limits of the process and of its killer: a ring of 1 MiB holds 1,800 to 3,300 deaths with them, and 16,000 without.
//!
//! **Policy.** The key is the whole record of a death, without its header and without what always differs (process ids, times,
//! status, peak memory, the age of the note). There are 16 places on each processor, 1 KiB each. The name of the process and the
//! length of the record choose a pair of places, and the record is compared with both, word by word. A hit sends a [`LikeRecord`]
//! with the id of the pattern; a miss sends the whole record and replaces the pattern of the pair that was filled fewer times.
//! An entry is stale only when the ring had no room for the record that filled it: it is emptied at once, since userspace never
//! got that record. Each filling gets the next of 65,535 ids, so that userspace cannot mistake a replaced pattern for the present
//! one. Records of more than 960 bytes, with several notes or with a note older than 4 s are sent whole and not kept.

use core::mem::replace;

use aya_ebpf::helpers::generated as helpers;
use observer_common::{
    exit::{ExitRecord, LikeRecord, PATTERN_PLACE_BITS},
    header::{ABI, Header, KIND_EXIT, KIND_EXIT_LIKE},
    loss::SLOT_EXIT,
    signal::SignalNote,
    task::TaskRecord,
};

use crate::{
    fair,
    maps::{ExitRing, PATTERN_PLACES, PATTERNS, Ring, count_lost},
    scratch::Writer,
};

/// Most words of a pattern, eight bytes each; a longer record is not kept.
const WORDS: usize = 120;
const WORD: usize = size_of::<u64>();

/// The last record that filled this place, without what differs from death to death. `like` is the room to build a
/// [`LikeRecord`] in.
#[repr(C, align(8))]
pub(crate) struct Pattern {
    len: u32,
    filled: u32,
    like: LikeRecord,
    words: [u64; WORDS],
}

/// Submits the record of a death: all of `writer`, or only what differs from its pattern. `note` is the offset of its only note,
/// 0 without one. Only the first exit program may call this: the kernel never runs that program twice at once on one CPU.
#[inline(always)]
pub(crate) fn submit(writer: Writer, time_ns: u64, note: u32) {
    let exit = writer.bytes().cast_mut().cast::<ExitRecord>();
    let len = writer.len();
    // SAFETY: the record begins with an `ExitRecord`, and the note lies at the caller's offset; their fields are written.
    let (small, age) = unsafe {
        let small =
            u16::try_from((*exit).peak_rss_pages).is_ok() && u16::try_from((*exit).status).is_ok();
        let made = if note == 0 { time_ns } else { (*writer.part::<SignalNote>(note)).time_ns };
        (small, time_ns.wrapping_sub(made))
    };
    let fits = small && u32::try_from(age).is_ok() && len as usize <= WORDS * WORD;
    let first = first_place(exit, len);
    let (Some(one), Some(other), true) =
        (PATTERNS.get_ptr_mut(first), PATTERNS.get_ptr_mut(first + 1), fits)
    else {
        writer.submit::<ExitRing>(KIND_EXIT, time_ns);
        return;
    };
    writer.pad();
    // SAFETY: both are values of a map that only this program uses on this CPU; the record is complete.
    unsafe {
        let like = &raw mut (*one).like;
        take_out(exit, like);
        (*like).note_age_ns = age as u32;
        if note != 0 {
            take_out_note(writer.part(note), like);
        }
        if matches(one, exit.cast(), len) {
            submit_like(like, pattern_id((*one).filled, first), time_ns, writer);
            return;
        }
        if matches(other, exit.cast(), len) {
            submit_like(like, pattern_id((*other).filled, first + 1), time_ns, writer);
            return;
        }
        // The two places take turns.
        let (pattern, place) =
            if (*other).filled < (*one).filled { (other, first + 1) } else { (one, first) };
        fill(pattern, exit.cast(), len);
        put_back(exit, like);
        if note != 0 {
            put_back_note(writer.part(note), like, time_ns);
        }
        (*exit).pattern = pattern_id((*pattern).filled, place);
        if !writer.submit::<ExitRing>(KIND_EXIT, time_ns) {
            (*pattern).len = 0;
        }
    }
}

/// # Safety
/// Every field of `like` must be written but its header and its pattern.
#[inline(always)]
unsafe fn submit_like(like: *mut LikeRecord, pattern: u32, time_ns: u64, writer: Writer) {
    let size = size_of::<LikeRecord>() as u32;
    // SAFETY: these two complete it.
    let sent = unsafe {
        (*like).pattern = pattern;
        (*like).header = Header { size, kind: KIND_EXIT_LIKE, abi: ABI, time_ns };
        fair::admits::<ExitRing>(writer, size)
            && ExitRing::map().output::<LikeRecord>(&*like, 0).is_ok()
    };
    if !sent {
        count_lost(SLOT_EXIT);
    }
}

/// The first of the two places for records of this name and length. There are two, since a shell's loop alternates between a few
/// programs, which must not replace each other.
#[inline(always)]
fn first_place(exit: *const ExitRecord, len: u32) -> u32 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    // SAFETY: a task follows the fixed part of a complete record.
    let comm = unsafe { (*exit.add(1).cast::<TaskRecord>()).comm };
    let half = u64::from_ne_bytes([
        comm[0], comm[1], comm[2], comm[3], comm[4], comm[5], comm[6], comm[7],
    ]);
    ((half ^ u64::from(len)).wrapping_mul(GOLDEN) >> (u64::BITS - PATTERN_PLACES.ilog2())) as u32
        & !1
}

/// What [`ExitRecord::pattern`] and [`LikeRecord::pattern`] hold: never 0, which stands for none.
#[inline(always)]
fn pattern_id(filled: u32, place: u32) -> u32 {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { helpers::bpf_get_smp_processor_id() };
    let place = (cpu * PATTERN_PLACES + place) & ((1 << PATTERN_PLACE_BITS) - 1);
    ((filled % 0xffff + 1) << PATTERN_PLACE_BITS) | place
}

/// Moves what differs from death to death from the record to `like`.
///
/// # Safety
/// `exit` must be a complete record.
#[inline(always)]
unsafe fn take_out(exit: *mut ExitRecord, like: *mut LikeRecord) {
    let task = exit.wrapping_add(1).cast::<TaskRecord>();
    // SAFETY: both are complete.
    unsafe {
        (*like).status = replace(&mut (*exit).status, 0) as u16;
        (*like).peak_rss_pages = replace(&mut (*exit).peak_rss_pages, 0) as u16;
        (*like).start_time_ns = replace(&mut (*task).start_time_ns, 0);
        (*like).mm = replace(&mut (*task).mm, 0);
        (*like).tgid = replace(&mut (*task).tgid, 0);
        (*like).ppid = replace(&mut (*task).ppid, 0);
        (*like).ns_pid = replace(&mut (*task).ns_pid, 0);
    }
}

/// Marks the process itself as the sender: no process has this id.
const ITSELF: u32 = u32::MAX;

/// Clears what differs from death to death in the note; `like` holds enough to restore it.
///
/// # Safety
/// `note` must be a complete note of the process that `like` describes.
#[inline(always)]
unsafe fn take_out_note(note: *mut SignalNote, like: *const LikeRecord) {
    // SAFETY: both are complete.
    unsafe {
        (*note).time_ns = 0;
        (*note).target_start_ns = 0;
        let sender = &raw mut (*note).sender;
        if (*sender).tgid == (*like).tgid && (*sender).start_time_ns == (*like).start_time_ns {
            (*sender).tgid = ITSELF;
            (*sender).start_time_ns = 0;
        }
    }
}

/// Undoes [`take_out_note`].
///
/// # Safety
/// As [`take_out_note`].
#[inline(always)]
unsafe fn put_back_note(note: *mut SignalNote, like: *const LikeRecord, time_ns: u64) {
    // SAFETY: both are complete.
    unsafe {
        (*note).time_ns = time_ns - u64::from((*like).note_age_ns);
        (*note).target_start_ns = (*like).start_time_ns;
        let sender = &raw mut (*note).sender;
        if (*sender).tgid == ITSELF {
            (*sender).tgid = (*like).tgid;
            (*sender).start_time_ns = (*like).start_time_ns;
        }
    }
}

/// Undoes [`take_out`].
///
/// # Safety
/// As [`take_out`].
#[inline(always)]
unsafe fn put_back(exit: *mut ExitRecord, like: *const LikeRecord) {
    let task = exit.wrapping_add(1).cast::<TaskRecord>();
    // SAFETY: both are complete.
    unsafe {
        (*exit).status = u32::from((*like).status);
        (*exit).peak_rss_pages = u64::from((*like).peak_rss_pages);
        (*task).start_time_ns = (*like).start_time_ns;
        (*task).mm = (*like).mm;
        (*task).tgid = (*like).tgid;
        (*task).ppid = (*like).ppid;
        (*task).ns_pid = (*like).ns_pid;
    }
}

/// Whether the record equals the pattern, apart from the header.
///
/// # Safety
/// `record` must have `len` bytes and zeros up to the next word.
#[inline(always)]
unsafe fn matches(pattern: *const Pattern, record: *const u64, len: u32) -> bool {
    // SAFETY: a value of a map.
    if unsafe { (*pattern).len } != len {
        return false;
    }
    for at in size_of::<Header>() / WORD..WORDS {
        if at * WORD >= len as usize {
            break;
        }
        // SAFETY: below `len`, and inside both.
        let same = unsafe {
            let kept = (&raw const (*pattern).words).cast::<u64>().add(at);
            record.add(at).read_volatile() == kept.read_volatile()
        };
        if !same {
            return false;
        }
    }
    true
}

/// Replaces the pattern by the record, apart from the header.
///
/// # Safety
/// As [`matches`].
#[inline(always)]
unsafe fn fill(pattern: *mut Pattern, record: *const u64, len: u32) {
    for at in size_of::<Header>() / WORD..WORDS {
        if at * WORD >= len as usize {
            break;
        }
        // SAFETY: as in `matches`.
        unsafe {
            let kept = (&raw mut (*pattern).words).cast::<u64>().add(at);
            kept.write_volatile(record.add(at).read_volatile());
        }
    }
    // SAFETY: as in `matches`.
    unsafe {
        (*pattern).len = len;
        (*pattern).filled += 1;
    }
}
