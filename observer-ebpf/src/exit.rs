//! Family `exit`: one record a process, when its last thread ends.
//!
//! do_exit (kernel/exit.c) runs, in this order: taskstats_exit, sched_process_exit (Linux 6.16 and later), exit_mm,
//! sched_process_exit (before 6.16). A program that runs before exit_mm sees arguments, executable and memory figures.

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use aya_log_ebpf::debug;
use observer_common::{
    exit::ExitRecord,
    header::KIND_EXIT,
    loss::{SLOT_EXIT, SLOT_EXIT_AGAIN, SLOT_EXIT_THIRD},
    settings::EXITS_ALL,
    signal::{CLASSES, NOTE_HAS_SENDER, NoteKey, ORIGIN_USER, SENDER_BYTES, SignalNote},
    task::ARGS_MAX,
};

use crate::{
    fair,
    fields::{
        Direct, EXIT_HAS_GROUP_DEAD, SIGNAL_FLAGS, SIGNAL_GROUP_EXIT_CODE, SIGNAL_LIVE,
        SIGNAL_OOM_MM, SIGNAL_RLIM, TASK_EXIT_CODE, TASK_FLAGS, TASK_LEADER, TASK_MM,
        TASK_SECCOMP_MODE, TASK_SIGNAL, TASK_START, TASK_TGID, field, now, try_field,
    },
    maps::{ExitRing, LAST_EXIT, NOTES, SENDERS, WATCHED, may_have_notes, setting},
    pattern_cache,
    scratch::Writer,
    task::{PF_KTHREAD, capture, peak_rss, value_or_zero},
};

/// `RLIMIT_` indexes and the size of `struct rlimit`, uapi/asm-generic/resource.h.
const RLIMIT_CPU: usize = 0;
const RLIMIT_FSIZE: usize = 1;
const RLIMIT: usize = 16;
/// `signal->flags`, include/linux/sched/signal.h.
const SIGNAL_GROUP_EXIT: u32 = 4;

/// Linux 6.16 and later: before exit_mm, with an argument that says whether this is the last thread.
/// Earlier: after exit_mm. The count of living threads decides, and two threads may both see 0 (userspace removes doubles).
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn exit(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    if !group_dead(&ctx, task) {
        return 0;
    }
    died(&ctx, task, SLOT_EXIT);
    0
}

/// Linux before 6.16 with function tracing: earlier in do_exit, when the process still has its memory.
#[fentry(function = "taskstats_exit")]
pub(crate) fn exit_early(ctx: FEntryContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    if !is_true(ctx.arg(1)) {
        return 0;
    }
    died(&ctx, task, SLOT_EXIT);
    0
}

/// The second exit program. A preemptible kernel skips the first one while another thread is preempted inside it on the same CPU;
/// this one has its own recursion guard.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn exit_again(ctx: BtfTracePointContext) -> i32 {
    report_missed(&ctx, SLOT_EXIT_AGAIN)
}

/// The third exit program: when processes die together, one may be preempted in the first program and the next in the second.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn exit_third(ctx: BtfTracePointContext) -> i32 {
    report_missed(&ctx, SLOT_EXIT_THIRD)
}

/// Reports a death unless an earlier program did.
#[inline(always)]
fn report_missed(ctx: &BtfTracePointContext, slot: u32) -> i32 {
    let task: *const u8 = ctx.arg(0);
    if !group_dead(ctx, task) {
        return 0;
    }
    let identity = identity(task);
    if LAST_EXIT.get(0).is_none_or(|last| *last != identity) {
        died(ctx, task, slot);
    }
    0
}

/// A `bool` argument: only its lowest byte counts.
#[inline(always)]
fn is_true(argument: u64) -> bool {
    argument as u8 != 0
}

#[inline(always)]
fn group_dead(ctx: &BtfTracePointContext, task: *const u8) -> bool {
    if EXIT_HAS_GROUP_DEAD.load() == 1 {
        return is_true(ctx.arg(1));
    }
    let signal: *const u8 = field::<Direct, _>(task, &TASK_SIGNAL);
    let leader: *const u8 = field::<Direct, _>(task, &TASK_LEADER);
    // All threads are ending. A leader that still has its memory may have no exit code yet: it runs this program later.
    field::<Direct, u32>(signal, &SIGNAL_LIVE) == 0
        && field::<Direct, *const u8>(leader, &TASK_MM).is_null()
}

#[inline(always)]
fn identity(task: *const u8) -> [u64; 2] {
    let leader: *const u8 = field::<Direct, _>(task, &TASK_LEADER);
    let tgid: u32 = field::<Direct, _>(task, &TASK_TGID);
    [field::<Direct, u64>(leader, &TASK_START), u64::from(tgid)]
}

#[inline(always)]
fn died<C: EbpfContext>(ctx: &C, task: *const u8, slot: u32) {
    let flags: u32 = field::<Direct, _>(task, &TASK_FLAGS);
    if flags & PF_KTHREAD != 0 {
        return;
    }
    let signal: *const u8 = field::<Direct, _>(task, &TASK_SIGNAL);
    // By the rule of wait_task_zombie. Without the flag, the group's code may be left over from an earlier stop.
    let status: u32 = if field::<Direct, u32>(signal, &SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
        field::<Direct, _>(signal, &SIGNAL_GROUP_EXIT_CODE)
    } else {
        let leader: *const u8 = field::<Direct, _>(task, &TASK_LEADER);
        field::<Direct, _>(leader, &TASK_EXIT_CODE)
    };
    if status == 0 && setting(EXITS_ALL) == 0 {
        let tgid: u32 = field::<Direct, _>(task, &TASK_TGID);
        // SAFETY: only the presence of a value is used.
        if unsafe { WATCHED.get(tgid) }.is_none() {
            return;
        }
    }
    report(task, signal, status, slot);
    if slot != SLOT_EXIT_THIRD
        && let Some(last) = LAST_EXIT.get_ptr_mut(0)
    {
        // SAFETY: a value of this CPU; at worst, a race with another thread gives a double, which userspace removes.
        unsafe { *last = identity(task) };
    }
    debug!(ctx, "exit: tgid {} status {}", field::<Direct, u32>(task, &TASK_TGID), status);
}

#[inline(always)]
fn report(task: *const u8, signal: *const u8, status: u32, slot: u32) {
    let Some(writer) = Writer::start(slot) else { return };
    fair::claim::<ExitRing>(writer, task);
    let record = writer.fixed::<ExitRecord>();
    let mm: *const u8 = field::<Direct, _>(task, &TASK_MM);
    // SAFETY: `fixed` gave room for the record; its header is written by `submit`, everything else here.
    unsafe {
        (*record).status = status;
        (*record).seccomp = try_field::<Direct, u32>(task, &TASK_SECCOMP_MODE).unwrap_or(0);
        (*record).peak_rss_pages = if mm.is_null() { 0 } else { peak_rss::<Direct>(mm) };
        (*record).oom_mm = value_or_zero::<Direct>(signal, &SIGNAL_OOM_MM);
        (*record).rlimit_cpu_soft = rlimit(signal, RLIMIT_CPU * RLIMIT);
        (*record).rlimit_cpu_hard = rlimit(signal, RLIMIT_CPU * RLIMIT + 8);
        (*record).rlimit_fsize = rlimit(signal, RLIMIT_FSIZE * RLIMIT);
        (*record).pattern = 0;
    }
    capture::<Direct>(writer, task, ARGS_MAX);
    let note = writer.next();
    let notes = notes(writer, identity(task));
    // SAFETY: as above.
    unsafe { (*record).notes = notes };
    if slot == SLOT_EXIT && notes <= 1 {
        pattern_cache::submit(writer, now(), if notes == 1 { note } else { 0 });
    } else {
        writer.submit::<ExitRing>(KIND_EXIT, now());
    }
}

#[inline(always)]
fn rlimit(signal: *const u8, offset: usize) -> u64 {
    try_field::<Direct, u64>(signal.wrapping_add(offset), &SIGNAL_RLIM).unwrap_or(u64::MAX)
}

/// Appends the notes of the process, each with its sender, and removes them from the map. Returns how many there are.
#[inline(always)]
fn notes(writer: Writer, identity: [u64; 2]) -> u32 {
    let tgid = identity[1] as u32;
    if !may_have_notes(tgid, identity[0]) {
        return 0;
    }
    let mut count = 0;
    for class in 0..CLASSES {
        let key = NoteKey { tgid, class };
        // SAFETY: plain numbers. The process is dead, so nothing writes its notes any more; but another CPU may evict one and
        // reuse its memory at this moment, so `append_note` checks whose note it copied.
        let Some(note) = (unsafe { NOTES.get(key) }) else { continue };
        if append_note(writer, note, identity) {
            count += 1;
        }
        let _ = NOTES.remove(key);
    }
    count
}

#[inline(always)]
fn append_note(writer: Writer, note: &SignalNote, identity: [u64; 2]) -> bool {
    if writer.full() {
        return false;
    }
    let end = writer.len();
    let at = writer.fixed::<SignalNote>();
    // SAFETY: `fixed` gave room for the note.
    let note = unsafe {
        *at = *note;
        &*at
    };
    if note.target_start_ns != identity[0] {
        writer.cut(end);
        return false;
    }
    let other = u64::from(note.sender.tgid) != identity[1];
    if note.origin == ORIGIN_USER && other && append_sender(writer, note) {
        // SAFETY: as above.
        unsafe { (*at).flags |= NOTE_HAS_SENDER };
    }
    true
}

#[inline(always)]
fn append_sender(writer: Writer, note: &SignalNote) -> bool {
    if writer.full() {
        return false;
    }
    // SAFETY: the value can change meanwhile only when the sender is evicted; its length is bounded below.
    let Some(sender) = (unsafe { SENDERS.get(note.sender) }) else { return false };
    let len = if sender.len > SENDER_BYTES as u32 { SENDER_BYTES as u32 } else { sender.len };
    writer.kernel_bytes((&raw const sender.bytes).cast(), len);
    true
}
