//! Reads a living process from `/proc` into the same [`Task`] that the kernel side captures of a dead one.

use std::{
    collections::HashMap,
    fs,
    io::Read as _,
    os::{linux::fs::MetadataExt, unix::ffi::OsStrExt},
    path::Path,
};

use bytes::Bytes;
use observer_common::task::{
    ARGS_MAX, COMM_LEN, PATH_MAX, TASK_FIRST_MNTNS, TASK_NO_ARGS, TaskRecord,
};
use procfs::process::Process as ProcProcess;
use serde::{Deserialize, Serialize};
use zerocopy::FromZeros;

use crate::{
    decode::{Task, TaskId},
    kernel::host::first_mntns,
};

/// A process, and what only `/proc` has of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Living {
    /// The process.
    pub task: Task,
    /// Its session: that of the process that called setsid(2).
    pub session: u32,
}

/// Nanoseconds of a clock tick as `/proc` counts them (USER_HZ is 100 on every architecture that matters).
const TICK_NS: u64 = 10_000_000;

/// Longest path of a living process that is kept, in bytes, as much as of a dead one; a longer one loses its first components.
const PATH_LONGEST: usize = PATH_MAX as usize;

/// Reads a process; `None` if it is gone, or if another process has its id now. `careful`: without its arguments, see
/// [`ProcessCache::new`].
#[must_use]
pub fn living(id: TaskId, careful: bool) -> Option<Living> {
    let living = read(id.tgid, id.start_ns, careful)?;
    (living.task.record.start_time_ns / TICK_NS == id.start_ns / TICK_NS).then_some(living)
}

/// Reads each process once: one process may hold many sockets. Lives for one scan.
#[derive(Debug, Default)]
pub struct ProcessCache {
    known: HashMap<TaskId, Option<Living>>,
    careful: bool,
}

impl ProcessCache {
    /// `careful`: leaves the arguments alone. They are read from the process's memory, and where that is a file of a FUSE file
    /// system, its owner decides when the reader comes back.
    #[must_use]
    pub fn new(careful: bool) -> Self {
        Self { known: HashMap::new(), careful }
    }

    /// As [`living`], reading each process once.
    pub fn living(&mut self, id: TaskId) -> Option<Living> {
        self.known.entry(id).or_insert_with(|| living(id, self.careful)).clone()
    }
}

/// Reads the process with this id. `start_ns` becomes its exact start time if both agree to the tick.
#[must_use]
pub fn by_pid(pid: u32, start_ns: u64) -> Option<Living> {
    read(pid, start_ns, false)
}

fn read(pid: u32, start_ns: u64, careful: bool) -> Option<Living> {
    let process = ProcProcess::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    let status = process.status().ok()?;
    let folder = Path::new("/proc").join(pid.to_string());
    let mut record = TaskRecord::new_zeroed();
    let tick_start = stat.starttime * TICK_NS;
    record.start_time_ns = if start_ns / TICK_NS == stat.starttime { start_ns } else { tick_start };
    record.tgid = pid;
    record.ppid = u32::try_from(stat.ppid).unwrap_or(0);
    record.uid = status.ruid;
    record.origin_uid = status.ruid;
    record.comm = comm(stat.comm.as_bytes());
    record.netns = namespace(&folder, "net");
    record.pidns = namespace(&folder, "pid");
    let levels = status.nspid.unwrap_or_default();
    record.ns_level = u32::try_from(levels.len().saturating_sub(1)).unwrap_or(0);
    record.ns_pid = levels.last().and_then(|pid| u32::try_from(*pid).ok()).unwrap_or(pid);
    if let Ok(parent) = fs::read(format!("/proc/{}/comm", record.ppid)) {
        record.parent_comm = comm(parent.trim_ascii_end());
    }
    let args = if careful { Vec::new() } else { first_arguments(&folder) };
    // The area of the arguments is the process's own choice (PR_SET_MM_MAP), and may have any size.
    let area = stat.arg_end.unwrap_or(0).saturating_sub(stat.arg_start.unwrap_or(0));
    record.args_total = u32::try_from(area.max(args.len() as u64)).unwrap_or(u32::MAX);
    if args.is_empty() {
        record.flags |= TASK_NO_ARGS;
    }
    let mntns = namespace(&folder, "mnt");
    if mntns != 0 && mntns == first_mntns() {
        record.flags |= TASK_FIRST_MNTNS;
    }
    let exe = fs::read_link(folder.join("exe")).unwrap_or_default();
    let task = Task {
        record,
        exe: last_components(exe.as_os_str().as_bytes()),
        cgroup: last_components(&cgroup(&fs::read(folder.join("cgroup")).unwrap_or_default())),
        args: Bytes::from(args),
    };
    Some(Living { task, session: u32::try_from(stat.session).unwrap_or(0) })
}

/// The first [`ARGS_MAX`] bytes of the arguments, as much as is kept of a dead process: a process can make its own as long as
/// it likes.
fn first_arguments(folder: &Path) -> Vec<u8> {
    let mut args = Vec::new();
    if let Ok(file) = fs::File::open(folder.join("cmdline")) {
        // What was read until an error is still true.
        let _ = file.take(ARGS_MAX.into()).read_to_end(&mut args);
    }
    args
}

/// A path that is not too long, as the kernel side cuts it.
fn last_components(path: &[u8]) -> Vec<u8> {
    let Some(from) = path.len().checked_sub(PATH_LONGEST).filter(|from| *from > 0) else {
        return path.to_vec();
    };
    let tail = &path[from..];
    let begin = tail.iter().position(|byte| *byte == b'/').unwrap_or(0);
    ["…".as_bytes(), &tail[begin..]].concat()
}

/// Path on the v2 hierarchy, or on v1's memory controller for a process in v2's root; the kernel side does the same.
fn cgroup(text: &[u8]) -> Vec<u8> {
    let mut unified = Vec::new();
    let mut memory = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let mut fields = line.splitn(3, |b| *b == b':');
        let (id, controllers, path) = (fields.next(), fields.next(), fields.next());
        let Some(path) = path else { continue };
        if id == Some(b"0") {
            unified = path.to_vec();
        } else if controllers.is_some_and(|c| c.split(|b| *b == b',').any(|c| c == b"memory")) {
            memory = path.to_vec();
        }
    }
    if unified.len() > 1 || memory.is_empty() { unified } else { memory }
}

/// Inode number of a namespace.
fn namespace(folder: &Path, kind: &str) -> u32 {
    let inode = fs::metadata(folder.join("ns").join(kind)).map(|m| m.st_ino());
    inode.ok().and_then(|inode| u32::try_from(inode).ok()).unwrap_or(0)
}

fn comm(bytes: &[u8]) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    let len = bytes.len().min(COMM_LEN - 1);
    comm[..len].copy_from_slice(&bytes[..len]);
    comm
}

/// (pid, name) of the zombies among the first `most` children of `parent`. A dead main thread whose other threads run is none.
#[must_use]
pub fn zombie_children(parent: u32, most: usize) -> Vec<(u32, String)> {
    // A pid has at most seven digits, and a space follows it.
    let room = most as u64 * 8;
    let mut text = String::new();
    if let Ok(children) = fs::File::open(format!("/proc/{parent}/task/{parent}/children")) {
        // What was read until an error is still true.
        let _ = children.take(room).read_to_string(&mut text);
    }
    text.split_ascii_whitespace()
        .take(most)
        .filter_map(|pid| ProcProcess::new(pid.parse().ok()?).ok()?.stat().ok())
        .filter(|stat| stat.state == 'Z' && stat.num_threads <= 1)
        .filter_map(|stat| Some((u32::try_from(stat.pid).ok()?, stat.comm)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        process::{Command, Stdio},
    };

    use super::{by_pid, cgroup};

    #[test]
    fn long_arguments_are_cut_as_those_of_the_dead() {
        // Its arguments are there when it runs, which is later than spawn() returns (exec_mmap frees the parent, and the new
        // program's argument area is set after that): it says a line first. It waits in its own `read`, and execs nothing more.
        let mut child = Command::new("sh")
            .args(["-c", "echo; read line", &"x".repeat(100_000)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut said = [0];
        child.stdout.take().expect("its output").read_exact(&mut said).expect("a line");
        let living = by_pid(child.id(), 0).expect("it lives");
        child.kill().and_then(|()| child.wait().map(drop)).expect("it ends");
        assert_eq!(living.task.args.len(), 4096);
        assert!(living.task.record.args_total > 100_000, "{}", living.task.record.args_total);
    }

    #[test]
    fn cgroup_of_v2_or_of_the_v1_memory_controller() {
        assert_eq!(cgroup(b"0::/system.slice/a.service\n"), b"/system.slice/a.service");
        assert_eq!(cgroup(b"4:memory:/m\n0::/\n"), b"/m");
        assert_eq!(cgroup(b"4:cpu:/m\n0::/\n"), b"/");
        assert_eq!(cgroup(b"4:cpu,memory:/m\n"), b"/m");
    }

    #[test]
    fn reads_this_process() {
        let me = by_pid(std::process::id(), 0).expect("this process");
        assert_eq!(
            me.task.record.ppid,
            rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get().cast_unsigned())
        );
        assert!(
            me.task.exe.ends_with(
                std::env::current_exe()
                    .expect("a path")
                    .file_name()
                    .expect("a name")
                    .as_encoded_bytes()
            )
        );
        assert!(!me.task.args.is_empty());
    }
}
