//! From a captured task to a process of the public vocabulary.

use crate::{
    decode::{Task, TaskId},
    kernel::clock::Clock,
    model::{Missing, Parent, Process, Time, hex_of_non_utf8, lossy},
};

use super::{cgroup::Groups, users::Users};

/// Knows names and clocks.
#[derive(Debug)]
pub struct Enricher {
    /// User names.
    pub users: Users,
    /// Time of day.
    pub clock: Clock,
    groups: Groups,
}

impl Enricher {
    /// Reads names from this host.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self::with(Users::new("/etc/passwd"), clock)
    }

    /// With these names.
    #[must_use]
    pub fn with(users: Users, clock: Clock) -> Self {
        Self { users, clock, groups: Groups::default() }
    }

    /// The process that a task belongs to.
    pub fn process(&mut self, task: &Task) -> Process {
        let record = &task.record;
        let mut process = Process {
            pid: record.tgid,
            start_time: Some(Time(self.clock.start_time(record.start_time_ns))),
            ppid: Some(record.ppid),
            comm: Some(lossy(task.comm())),
            comm_hex: hex_of_non_utf8(task.comm()),
            parent: Some(Parent {
                pid: record.ppid,
                comm: lossy(task.parent_comm()),
                comm_hex: hex_of_non_utf8(task.parent_comm()),
            }),
            ns_pid: (record.ns_level > 0).then_some(record.ns_pid),
            ..Process::default()
        };
        if record.ppid == 0 {
            // The first process and kthreadd; also a process whose parent lives outside any namespace we could name.
            process.parent = None;
        }
        self.user(&mut process, record.uid);
        executable(&mut process, task);
        arguments(&mut process, task);
        place(&mut process, task, &mut self.groups);
        process
    }

    /// A process of which only identity and name are known.
    #[must_use]
    pub fn named(&self, id: TaskId, comm: &[u8], why: &str) -> Process {
        let absent = ["ppid", "uid", "exe", "args", "cgroup", "netns"];
        Process {
            pid: id.tgid,
            start_time: Some(Time(self.clock.start_time(id.start_ns))),
            comm: Some(lossy(comm)),
            comm_hex: hex_of_non_utf8(comm),
            missing: absent.into_iter().map(|key| (key.to_owned(), why.to_owned())).collect(),
            ..Process::default()
        }
    }

    fn user(&mut self, process: &mut Process, uid: u32) {
        if uid == u32::MAX {
            note(&mut process.missing, "uid", "this kernel's credentials can't be read");
            return;
        }
        process.uid = Some(uid);
        process.user = self.users.name(uid).map(str::to_owned);
        if process.user.is_none() {
            note(&mut process.missing, "user", self.users.absence());
        }
    }
}

const NO_MM: &str = "the process had given up its memory before it could be read";

fn executable(process: &mut Process, task: &Task) {
    if task.exe.is_empty() {
        let why = if task.no_mm() { NO_MM } else { "the kernel names no file" };
        note(&mut process.missing, "exe", why);
        return;
    }
    process.exe = Some(lossy(&task.exe));
    process.exe_hex = hex_of_non_utf8(&task.exe);
}

fn arguments(process: &mut Process, task: &Task) {
    if task.args.is_empty() {
        let why = match (task.no_mm(), task.record.args_total) {
            (true, _) => NO_MM,
            (false, 0) => "the process was started without any, or overwrote them",
            (false, _) => "their memory was not at hand",
        };
        note(&mut process.missing, "args", why);
        return;
    }
    let cut = task.args.len() < task.record.args_total as usize;
    // The last argument's NUL ends it. Programs that write their title over their arguments (nginx, postgres) fill up
    // with NULs: those are no arguments either.
    let mut bytes = task.args.strip_suffix(b"\0").unwrap_or(&task.args);
    if bytes.ends_with(b"\0\0") {
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        bytes = &bytes[..end];
    }
    if cut {
        bytes = without_half_a_letter(bytes);
    }
    let args = bytes.split(|b| *b == 0);
    if std::str::from_utf8(bytes).is_err() {
        process.args_hex = Some(args.clone().map(crate::model::hex).collect());
    }
    let mut args: Vec<String> = args.map(lossy).collect();
    if cut {
        if let Some(last) = args.last_mut() {
            last.push('…');
        }
        process.args_total_bytes = Some(task.record.args_total.into());
    }
    process.args = Some(args);
}

/// A list that was cut within a letter ends before it.
fn without_half_a_letter(bytes: &[u8]) -> &[u8] {
    let last = bytes.iter().rposition(|b| *b == 0).map_or(0, |nul| nul + 1);
    match std::str::from_utf8(&bytes[last..]) {
        Err(error) if error.error_len().is_none() => &bytes[..last + error.valid_up_to()],
        _ => bytes,
    }
}

fn place(process: &mut Process, task: &Task, groups: &mut Groups) {
    if task.cgroup.is_empty() {
        note(&mut process.missing, "cgroup", "this kernel's cgroup can't be read");
    } else {
        let group = groups.of(&task.cgroup);
        process.unit.clone_from(&group.unit);
        process.container.clone_from(&group.container);
        process.cgroup = Some(group.path.clone());
        process.cgroup_hex.clone_from(&group.path_hex);
    }
    match task.record.netns {
        0 => note(&mut process.missing, "netns", "the process had left its namespaces"),
        inum => process.netns = Some(inum),
    }
}

fn note(missing: &mut Missing, key: &str, why: &str) {
    missing.insert(key.to_owned(), why.to_owned());
}
