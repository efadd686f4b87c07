//! Captures a process: its identity, namespaces, executable, cgroup and arguments.

use aya_ebpf::Global;
use observer_common::{
    offsets::ABSENT,
    settings::FIRST_MNTNS,
    task::{
        COMM_LEN, TASK_EXITING, TASK_FIRST_MNTNS, TASK_FORKED, TASK_NO_ARGS, TASK_NO_MM,
        TASK_TRACED, TaskRecord,
    },
};

use crate::{
    fields::{
        Access, CRED_UID, FS_ROOT_DENTRY, FS_ROOT_MNT, MM_ARG_END, MM_ARG_START, MM_HIWATER_RSS,
        MM_RSS, MM_RSS_COUNT, MNTNS_INUM, NET_INUM, NSPROXY_MNT, NSPROXY_NET, PERCPU_COUNTER_COUNT,
        PERCPU_COUNTER_SIZE, PID_LEVEL, PID_NUMBERS, PIDNS_INUM, Probe, TASK_COMM, TASK_CRED,
        TASK_FLAGS, TASK_FS, TASK_LEADER, TASK_MM, TASK_NSPROXY, TASK_PARENT, TASK_PTRACE,
        TASK_START, TASK_TGID, TASK_THREAD_PID, UPID_NR, UPID_NS, UPID_SIZE, field, field_16,
        pointer, try_field,
    },
    maps::setting,
    origin, paths,
    scratch::Writer,
};

/// `task->flags`, include/linux/sched.h.
pub(crate) const PF_EXITING: u32 = 0x4;
pub(crate) const PF_FORKNOEXEC: u32 = 0x40;
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

/// Inode number of the initial pid namespace, include/linux/proc_ns.h.
const PROC_PID_INIT_INO: u32 = 0xefff_fffc;

/// `enum` of mm counters, include/linux/mm_types_task.h.
pub(crate) const MM_FILEPAGES: u32 = 0;
pub(crate) const MM_ANONPAGES: u32 = 1;
pub(crate) const MM_SHMEMPAGES: u32 = 3;

/// Appends a [`TaskRecord`] and its segments. `args_max` must be 0 unless the task is the current one: only the current process's
/// memory can be read.
#[inline(always)]
pub(crate) fn capture<A: Access>(writer: Writer, task: *const u8, args_max: u32) {
    let leader: *const u8 = field::<A, _>(task, &TASK_LEADER);
    let parent: *const u8 = field::<A, _>(task, &TASK_PARENT);
    let mm: *const u8 = field::<A, _>(task, &TASK_MM);
    let task_flags: u32 = field::<A, _>(task, &TASK_FLAGS);
    let mut flags = 0;
    if task_flags & PF_EXITING != 0 {
        flags |= TASK_EXITING;
    }
    if task_flags & PF_FORKNOEXEC != 0 {
        flags |= TASK_FORKED;
    }
    if is_traced::<A>(task) {
        flags |= TASK_TRACED;
    }
    if in_first_mntns::<A>(task) {
        flags |= TASK_FIRST_MNTNS;
    }

    let record = writer.fixed::<TaskRecord>();
    let tgid: u32 = field::<A, _>(task, &TASK_TGID);
    let (pidns, ns_pid, ns_level) = namespace_pid::<A>(leader, tgid);
    // SAFETY: `fixed` gave room for the record, and every field is written here or below.
    unsafe {
        (*record).start_time_ns = field::<A, _>(leader, &TASK_START);
        (*record).mm = mm as u64;
        (*record).tgid = tgid;
        (*record).ppid = field::<A, _>(parent, &TASK_TGID);
        (*record).uid = uid::<A>(task);
        (*record).netns = netns::<A>(task);
        (*record).pidns = pidns;
        (*record).ns_pid = ns_pid;
        (*record).origin_uid = origin::user::<A>(task);
        (*record).ns_level = ns_level;
        (*record).reserved = 0;
        (*record).comm = comm::<A>(leader);
        (*record).parent_comm = comm::<A>(parent);
    }

    let mut exe_len = 0;
    let mut args_total = 0;
    let mut args_len = 0;
    if mm.is_null() {
        flags |= TASK_NO_MM;
    } else {
        let exe = paths::executable::<A>(writer, mm);
        exe_len = exe.len;
        flags |= exe.flags;
    }
    let cgroup = paths::cgroup::<A>(writer, task);
    flags |= cgroup.flags;
    if !mm.is_null() {
        let start = try_field::<A, u64>(mm, &MM_ARG_START).unwrap_or(0);
        let end = try_field::<A, u64>(mm, &MM_ARG_END).unwrap_or(0);
        if start != 0 && end > start {
            args_total = (end - start) as u32;
            if args_max > 0 && !writer.full() {
                let wanted = if args_total > args_max { args_max } else { args_total };
                args_len = writer.user_bytes(start, wanted) as u16;
            }
            if args_len == 0 {
                flags |= TASK_NO_ARGS;
            }
        }
    }
    // SAFETY: as above.
    unsafe {
        (*record).flags = flags;
        (*record).args_total = args_total;
        (*record).exe_len = exe_len;
        (*record).cgroup_len = cgroup.len;
        (*record).args_len = args_len;
    }
}

/// Name of a task.
#[inline(always)]
pub(crate) fn comm<A: Access>(task: *const u8) -> [u8; COMM_LEN] {
    field_16::<A>(task, &TASK_COMM)
}

#[inline(always)]
pub(crate) fn uid<A: Access>(task: *const u8) -> u32 {
    pointer::<A>(task, &TASK_CRED)
        .and_then(|cred| try_field::<A, u32>(cred, &CRED_UID))
        .unwrap_or(u32::MAX)
}

/// Whether a tracer has attached to it.
#[inline(always)]
pub(crate) fn is_traced<A: Access>(task: *const u8) -> bool {
    try_field::<A, u32>(task, &TASK_PTRACE).is_some_and(|ptrace| ptrace != 0)
}

/// Whether it has the same root folder as its parent: a path means the same to both.
#[inline(always)]
pub(crate) fn has_parents_root(task: *const u8) -> bool {
    let parent: *const u8 = field::<Probe, _>(task, &TASK_PARENT);
    let (own, parents) = (root(task), root(parent));
    own.is_some() && own == parents
}

#[inline(always)]
fn root(task: *const u8) -> Option<(u64, u64)> {
    let fs = pointer::<Probe>(task, &TASK_FS)?;
    let mnt = try_field::<Probe, u64>(fs, &FS_ROOT_MNT)?;
    Some((mnt, try_field::<Probe, u64>(fs, &FS_ROOT_DENTRY)?))
}

#[inline(always)]
fn in_first_mntns<A: Access>(task: *const u8) -> bool {
    let own = pointer::<A>(task, &TASK_NSPROXY)
        .and_then(|nsproxy| pointer::<A>(nsproxy, &NSPROXY_MNT))
        .and_then(|mnt| try_field::<A, u32>(mnt, &MNTNS_INUM))
        .unwrap_or(0);
    own != 0 && own == setting(FIRST_MNTNS)
}

#[inline(always)]
pub(crate) fn netns<A: Access>(task: *const u8) -> u32 {
    pointer::<A>(task, &TASK_NSPROXY)
        .and_then(|nsproxy| pointer::<A>(nsproxy, &NSPROXY_NET))
        .and_then(|net| try_field::<A, u32>(net, &NET_INUM))
        .unwrap_or(0)
}

/// (inode of the innermost pid namespace, pid in there, its depth): `thread_pid->numbers[level]`.
#[inline(always)]
fn namespace_pid<A: Access>(leader: *const u8, tgid: u32) -> (u32, u32, u32) {
    if UPID_NR.load() == ABSENT || UPID_NS.load() == ABSENT || UPID_SIZE.load() == ABSENT {
        return (0, 0, 0);
    }
    let Some(pid) = pointer::<A>(leader, &TASK_THREAD_PID) else { return (0, 0, 0) };
    let Some(level) = try_field::<A, u32>(pid, &PID_LEVEL) else { return (0, 0, 0) };
    if level == 0 {
        return (PROC_PID_INIT_INO, tgid, 0);
    }
    // Probed from here on: the index is not a constant, which a typed pointer would need.
    let upid = pid.wrapping_add(PID_NUMBERS.load() as usize + (level * UPID_SIZE.load()) as usize);
    let inum = pointer::<Probe>(upid, &UPID_NS)
        .and_then(|ns| try_field::<Probe, u32>(ns, &PIDNS_INUM))
        .unwrap_or(0);
    (inum, field::<Probe, u32>(upid, &UPID_NR), level)
}

/// One of the resident-page counters of an mm, without the per-CPU parts that are not folded in yet, as the kernel's
/// `percpu_counter_read_positive` reads it.
#[inline(always)]
pub(crate) fn resident<A: Access>(mm: *const u8, counter: u32) -> u64 {
    let pages = if MM_RSS_COUNT.load() != ABSENT {
        // Linux before 6.2, whose verifier allows no typed load from an array of atomic numbers.
        field::<Probe, i64>(mm.wrapping_add(counter as usize * 8), &MM_RSS_COUNT)
    } else if MM_RSS.load() != ABSENT && PERCPU_COUNTER_COUNT.load() != ABSENT {
        let at = MM_RSS.load() + counter * PERCPU_COUNTER_SIZE.load();
        field::<A, i64>(mm.wrapping_add(at as usize), &PERCPU_COUNTER_COUNT)
    } else {
        0
    };
    if pages > 0 { pages as u64 } else { 0 }
}

/// Highest resident size in pages, as `get_mm_hiwater_rss` (include/linux/mm.h).
#[inline(always)]
pub(crate) fn peak_rss<A: Access>(mm: *const u8) -> u64 {
    let now = resident::<A>(mm, MM_FILEPAGES)
        + resident::<A>(mm, MM_ANONPAGES)
        + resident::<A>(mm, MM_SHMEMPAGES);
    let peak = value_or_zero::<A>(mm, &MM_HIWATER_RSS);
    if peak > now { peak } else { now }
}

/// A number that a kernel may lack: 0 without it.
#[inline(always)]
pub(crate) fn value_or_zero<A: Access>(base: *const u8, offset: &Global<u32>) -> u64 {
    try_field::<A, u64>(base, offset).unwrap_or(0)
}

/// Whether the task is the first process of a pid namespace other than the initial one.
#[inline(always)]
pub(crate) fn is_namespace_init(task: *const u8) -> bool {
    let leader: *const u8 = field::<Probe, _>(task, &TASK_LEADER);
    let (_, ns_pid, level) = namespace_pid::<Probe>(leader, 0);
    level > 0 && ns_pid == 1
}
