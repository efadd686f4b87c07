//! Family `oom`: the kernel's OOM killer chose a victim.
//!
//! mark_victim (mm/oom_kill.c, `mark_oom_victim`) runs right after the SIGKILL, in the context of the process that asked for
//! memory: that process is the trigger, never the killer.

use aya_ebpf::{
    EbpfContext,
    helpers::generated as helpers,
    macros::{btf_tracepoint, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};
use observer_common::{
    header::KIND_OOM,
    loss::SLOT_OOM,
    oom::{
        CONSTRAINT_UNKNOWN, FRAMES, LEVEL_UNKNOWN, LEVELS, MemoryLevel, OOM_KILL_SENT, OomRecord,
    },
    signal::{CLASS_KILL, NoteKey, ORIGIN_KERNEL},
    task::ARGS_MAX,
};

use crate::{
    fair,
    fields::{
        Access, CSS_PARENT, Direct, MEMCG_MAX, MEMCG_MEMSW_MAX, MEMCG_MEMSW_USAGE, MEMCG_USAGE,
        MM_PGTABLES, MM_TOTAL_VM, OC_CHOSEN, OC_CONSTRAINT, OC_MEMCG, OC_TOTALPAGES, Probe,
        SIGNAL_OOM_SCORE_ADJ, TASK_LEADER, TASK_MM, TASK_PID, TASK_SIGNAL, TASK_START, TASK_TGID,
        current, field, now, pointer, try_field,
    },
    maps::{NOTES, OOM_CONTROLS, OomRing},
    paths::{memory_cgroup, memory_css},
    scratch::Writer,
    task::{MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, capture, resident, value_or_zero},
};

/// Fields of `oom_control` of the kill in progress.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct OomControl {
    chosen: u64,
    memcg: u64,
    total_pages: u64,
    constraint: u64,
}

/// Linux 6.9 and later, and stable kernels since 2025: the argument is the victim's task.
#[btf_tracepoint(function = "mark_victim")]
pub(crate) fn oom(ctx: BtfTracePointContext) -> i32 {
    let victim: *const u8 = ctx.arg(0);
    report::<Direct>(&ctx, victim);
    0
}

/// Earlier kernels: the argument is a thread id, and the task is the one that `oom_begin` saw chosen.
#[btf_tracepoint(function = "mark_victim")]
pub(crate) fn oom_by_pid(ctx: BtfTracePointContext) -> i32 {
    let pid: u32 = ctx.arg(0);
    // SAFETY: the value belongs to this thread: no other thread writes it.
    let Some(control) = (unsafe { OOM_CONTROLS.get(this_thread()) }) else { return 0 };
    let chosen = control.chosen as *const u8;
    // The kernel may mark another thread of the chosen process, when the chosen one has no memory left; with memory.oom.group it
    // marks other processes too.
    if field::<Probe, u32>(chosen, &TASK_PID) == pid
        || field::<Probe, u32>(chosen, &TASK_TGID) == pid
    {
        report::<Probe>(&ctx, chosen);
    }
    0
}

/// Where function tracing works: `oom_control` says whose limit was hit.
#[fentry(function = "oom_kill_process")]
pub(crate) fn oom_begin(ctx: FEntryContext) -> i32 {
    let oc: *const u8 = ctx.arg(0);
    let control = OomControl {
        chosen: value_or_zero::<Probe>(oc, &OC_CHOSEN),
        memcg: value_or_zero::<Probe>(oc, &OC_MEMCG),
        total_pages: value_or_zero::<Probe>(oc, &OC_TOTALPAGES),
        constraint: u64::from(
            try_field::<Probe, u32>(oc, &OC_CONSTRAINT).unwrap_or(CONSTRAINT_UNKNOWN),
        ),
    };
    let _ = OOM_CONTROLS.insert(this_thread(), control, 0);
    0
}

/// The kill is over: a later mark by the same thread does not belong to it.
#[fexit(function = "oom_kill_process")]
pub(crate) fn oom_end(_ctx: FExitContext) -> i32 {
    let _ = OOM_CONTROLS.remove(this_thread());
    0
}

#[inline(always)]
fn this_thread() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { helpers::bpf_get_current_pid_tgid() }
}

#[inline(always)]
fn report<A: Access>(ctx: &BtfTracePointContext, victim: *const u8) {
    let Some(writer) = Writer::start(SLOT_OOM) else { return };
    fair::claim::<OomRing>(writer, victim);
    let record = writer.fixed::<OomRecord>();
    let mm: *const u8 = field::<A, _>(victim, &TASK_MM);
    let signal: *const u8 = field::<A, _>(victim, &TASK_SIGNAL);
    // SAFETY: the value belongs to this thread: no other thread writes it.
    let control = unsafe { OOM_CONTROLS.get(this_thread()) }.copied();
    // SAFETY: `fixed` gave room for the record; its header is written by `submit`, everything else here.
    unsafe {
        (*record).total_vm = value_or_zero::<Probe>(mm, &MM_TOTAL_VM);
        (*record).anon_rss = resident::<Probe>(mm, MM_ANONPAGES);
        (*record).file_rss = resident::<Probe>(mm, MM_FILEPAGES);
        (*record).shmem_rss = resident::<Probe>(mm, MM_SHMEMPAGES);
        (*record).page_tables = value_or_zero::<Probe>(mm, &MM_PGTABLES);
        (*record).oom_score_adj =
            i32::from(try_field::<Probe, i16>(signal, &SIGNAL_OOM_SCORE_ADJ).unwrap_or(0));
        (*record).flags = if kill_was_sent(victim) { OOM_KILL_SENT } else { 0 };
        (*record).total_pages = control.map_or(0, |c| c.total_pages);
        (*record).constraint = control.map_or(CONSTRAINT_UNKNOWN, |c| c.constraint as u32);
        let frames = helpers::bpf_get_stack(
            ctx.as_ptr(),
            (&raw mut (*record).frames).cast(),
            size_of::<[u64; FRAMES]>() as u32,
            0,
        );
        (*record).frames_len = if frames > 0 { frames as u32 / 8 } else { 0 };
        levels(record, victim, control.map_or(0, |c| c.memcg));
    }
    let victim_memory = memory_cgroup::<Probe>(writer, victim);
    let trigger_memory = memory_cgroup::<Probe>(writer, current());
    // SAFETY: as above.
    unsafe {
        (*record).victim_memory_len = u32::from(victim_memory.len);
        (*record).trigger_memory_len = u32::from(trigger_memory.len);
    }
    capture::<A>(writer, victim, 0);
    capture::<Probe>(writer, current(), ARGS_MAX);
    writer.submit::<OomRing>(KIND_OOM, now());
}

/// Whether the victim got a SIGKILL: `__oom_kill_process` sends it before the mark, and marks a process that was ending anyway
/// without one.
#[inline(always)]
fn kill_was_sent(victim: *const u8) -> bool {
    let tgid: u32 = field::<Probe, _>(victim, &TASK_TGID);
    let leader: *const u8 = field::<Probe, _>(victim, &TASK_LEADER);
    let start: u64 = field::<Probe, _>(leader, &TASK_START);
    // SAFETY: the value is only compared.
    unsafe { NOTES.get(NoteKey { tgid, class: CLASS_KILL }) }
        .is_some_and(|note| note.target_start_ns == start && note.origin == ORIGIN_KERNEL)
}

/// The victim's memory cgroup and those above it, with the one that `oom_control` names.
///
/// # Safety
/// `record` must point to room for a record.
#[inline(always)]
unsafe fn levels(record: *mut OomRecord, victim: *const u8, limit: u64) {
    let mut count = 0;
    let mut limit_level = LEVEL_UNKNOWN;
    let mut css = memory_css::<Probe>(victim);
    for level in 0..LEVELS {
        let Some(memcg) = css else { break };
        if limit != 0 && memcg as u64 == limit {
            limit_level = level as u32;
        }
        // SAFETY: `level` is below LEVELS.
        unsafe {
            (*record).levels[level] = MemoryLevel {
                usage: value_or_zero::<Probe>(memcg, &MEMCG_USAGE),
                max: value_or_zero::<Probe>(memcg, &MEMCG_MAX),
                memsw_usage: value_or_zero::<Probe>(memcg, &MEMCG_MEMSW_USAGE),
                memsw_max: value_or_zero::<Probe>(memcg, &MEMCG_MEMSW_MAX),
            };
        }
        count += 1;
        css = pointer::<Probe>(memcg, &CSS_PARENT);
    }
    // SAFETY: as above.
    unsafe {
        (*record).levels_len = count;
        (*record).limit_level = limit_level;
    }
}
