//! Sample kernel events for tests, and the records that decode to them.

use bytes::Bytes;
use observer_common::{
    exit::{ExitRecord, LikeRecord},
    header::{ABI, Header, KIND_BIND, KIND_EXIT, KIND_EXIT_LIKE, KIND_OOM},
    oom::{CONSTRAINT_UNKNOWN, LEVEL_UNKNOWN, MemoryLevel, OOM_KILL_SENT, OomRecord},
    signal::{NOTE_HAS_SENDER, ORIGIN_KERNEL, ORIGIN_USER, SignalNote},
    socket::{BindRecord, CALL_BIND},
    task::TaskRecord,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::{Exit, Note, Oom, Task};

/// Nanoseconds a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// When a sample process dies.
pub(crate) const DEATH: u64 = 1000 * SECOND;

/// Process `tgid`, named `node`, `tgid` seconds after boot.
pub(crate) fn task(tgid: u32) -> Task {
    let mut record = TaskRecord::new_zeroed();
    record.tgid = tgid;
    record.ppid = 1;
    record.mm = 0xffff_0000_0000 + u64::from(tgid) * 0x1000;
    record.start_time_ns = u64::from(tgid) * SECOND;
    record.netns = 4_026_531_840;
    record.comm[..4].copy_from_slice(b"node");
    record.parent_comm[..7].copy_from_slice(b"systemd");
    let args = Bytes::from_static(b"node\0server.js\0");
    record.args_total = 15;
    let (exe, cgroup) = (b"/usr/bin/node".to_vec(), b"/system.slice/shop.service".to_vec());
    Task { record, exe, cgroup, args }
}

/// Process `tgid` ends with `status` in wait(2)'s terms.
pub(crate) fn exit(tgid: u32, status: u32) -> Exit {
    let mut record = ExitRecord::new_zeroed();
    record.status = status;
    record.peak_rss_pages = 2560;
    record.rlimit_cpu_soft = u64::MAX;
    record.rlimit_cpu_hard = u64::MAX;
    record.rlimit_fsize = u64::MAX;
    Exit { time_ns: DEATH, record, task: task(tgid), notes: Vec::new() }
}

/// `signal` from process `sender` as kill(2) sends it, a second before the death.
pub(crate) fn note(signal: u32, sender: u32) -> Note {
    let task = task(sender);
    let mut record = SignalNote::new_zeroed();
    record.time_ns = DEATH - SECOND;
    record.signal = signal;
    record.origin = ORIGIN_USER;
    record.sender.tgid = sender;
    record.sender.start_time_ns = task.record.start_time_ns;
    record.sender_comm = task.record.comm;
    Note { record, sender: Some(task) }
}

/// `signal` from the kernel while process `bystander` ran.
pub(crate) fn kernel_note(signal: u32, bystander: u32) -> Note {
    let mut note = note(signal, bystander);
    note.record.origin = ORIGIN_KERNEL;
    note.record.code = 0x80;
    note.sender = None;
    note
}

/// Process `tgid` dies of the kernel's SIGKILL while process `trigger` runs.
pub(crate) fn oom_exit(tgid: u32, trigger: u32) -> Exit {
    let mut exit = exit(tgid, 9);
    exit.notes.push(kernel_note(9, trigger));
    exit
}

/// The OOM killer chooses `victim` when `trigger` allocates; `oom_control` was not captured, so only counters are known.
pub(crate) fn oom(victim: u32, trigger: u32) -> Oom {
    let mut record = OomRecord::new_zeroed();
    record.flags = OOM_KILL_SENT;
    record.constraint = CONSTRAINT_UNKNOWN;
    record.limit_level = LEVEL_UNKNOWN;
    record.total_vm = 1 << 18;
    record.anon_rss = 10_000;
    record.file_rss = 500;
    record.page_tables = 1 << 16;
    Oom {
        time_ns: DEATH - SECOND / 1000,
        record,
        victim_memory: b"/system.slice/shop.service".to_vec(),
        trigger_memory: b"/system.slice/shop.service".to_vec(),
        victim: task(victim),
        trigger: task(trigger),
    }
}

/// The counters of the victim's memory cgroup and those above it, as (usage, max) in pages.
pub(crate) fn set_levels(oom: &mut Oom, levels: &[(u64, u64)]) {
    for (slot, (usage, max)) in oom.record.levels.iter_mut().zip(levels) {
        *slot = MemoryLevel { usage: *usage, max: *max, memsw_usage: 0, memsw_max: 0 };
    }
    oom.record.levels_len = u32::try_from(levels.len()).unwrap_or(0);
}

/// The record that decodes to this death.
pub(crate) fn exit_bytes(exit: &Exit) -> Bytes {
    let mut bytes = Vec::new();
    let mut record = exit.record;
    record.notes = u32::try_from(exit.notes.len()).unwrap_or(0);
    put(&mut bytes, &record);
    put_task(&mut bytes, &exit.task);
    for note in &exit.notes {
        let mut record = note.record;
        record.flags |= if note.sender.is_some() { NOTE_HAS_SENDER } else { 0 };
        put(&mut bytes, &record);
        note.sender.iter().for_each(|sender| put_task(&mut bytes, sender));
    }
    with_header(bytes, KIND_EXIT, exit.time_ns)
}

/// The kernel side's short record of this death.
pub(crate) fn like_bytes(exit: &Exit, pattern: u32) -> Bytes {
    let task = &exit.task.record;
    let age = exit.notes.first().map_or(0, |note| exit.time_ns - note.record.time_ns);
    let record = LikeRecord {
        header: Header { size: 56, kind: KIND_EXIT_LIKE, abi: ABI, time_ns: exit.time_ns },
        start_time_ns: task.start_time_ns,
        mm: task.mm,
        tgid: task.tgid,
        ppid: task.ppid,
        ns_pid: task.ns_pid,
        pattern,
        note_age_ns: u32::try_from(age).unwrap_or(0),
        status: u16::try_from(exit.record.status).unwrap_or(0),
        peak_rss_pages: u16::try_from(exit.record.peak_rss_pages).unwrap_or(0),
    };
    Bytes::copy_from_slice(record.as_bytes())
}

/// The record that decodes to this OOM kill.
pub(crate) fn oom_bytes(oom: &Oom) -> Bytes {
    let mut bytes = Vec::new();
    let (victim, trigger) = (names(&oom.victim_memory), names(&oom.trigger_memory));
    let mut record = oom.record;
    record.victim_memory_len = u32::try_from(victim.len()).unwrap_or(0);
    record.trigger_memory_len = u32::try_from(trigger.len()).unwrap_or(0);
    put(&mut bytes, &record);
    bytes.extend(victim);
    bytes.extend(trigger);
    put_task(&mut bytes, &oom.victim);
    put_task(&mut bytes, &oom.trigger);
    with_header(bytes, KIND_OOM, oom.time_ns)
}

/// A bind to 127.0.0.1:8080 that was refused with EADDRINUSE.
pub(crate) fn refused_bytes(tgid: u32, time_ns: u64) -> Bytes {
    let mut record = BindRecord::new_zeroed();
    (record.call, record.result) = (CALL_BIND, -98);
    (record.socket.family, record.socket.kind, record.socket.protocol) = (2, 1, 6);
    let asked = [2, 0, 0x1f, 0x90, 127, 0, 0, 1];
    record.asked[..asked.len()].copy_from_slice(&asked);
    record.asked_len = 16;
    let mut bytes = Vec::new();
    put(&mut bytes, &record);
    put_task(&mut bytes, &task(tgid));
    with_header(bytes, KIND_BIND, time_ns)
}

fn put<T: IntoBytes + Immutable>(bytes: &mut Vec<u8>, part: &T) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(part.as_bytes());
}

fn put_task(bytes: &mut Vec<u8>, task: &Task) {
    let (exe, cgroup) = (names(&task.exe), names(&task.cgroup));
    let mut record = task.record;
    record.exe_len = u16::try_from(exe.len()).unwrap_or(0);
    record.cgroup_len = u16::try_from(cgroup.len()).unwrap_or(0);
    record.args_len = u16::try_from(task.args.len()).unwrap_or(0);
    put(bytes, &record);
    bytes.extend(exe);
    bytes.extend(cgroup);
    bytes.extend_from_slice(&task.args);
}

/// A path as its components, leaf first.
fn names(path: &[u8]) -> Vec<u8> {
    path.split(|b| *b == b'/')
        .rev()
        .filter(|name| !name.is_empty())
        .flat_map(|name| [name, b"\0"].concat())
        .collect()
}

fn with_header(mut bytes: Vec<u8>, kind: u16, time_ns: u64) -> Bytes {
    let size = u32::try_from(bytes.len()).unwrap_or(0);
    let header = Header { size, kind, abi: ABI, time_ns };
    bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    bytes.into()
}
