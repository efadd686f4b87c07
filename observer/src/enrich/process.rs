//! Turns the kernel side's picture of a task into a public [`Process`], and says in `missing` what it could not learn.
//!
//! **Bounded:** by its caches, see `text_cache` and `cgroup_cache`.

use std::sync::Arc;

use crate::{
    decode::{Task, TaskId},
    kernel::clock::Clock,
    model::{Missing, Parent, Process, Time, hex, hex_of_non_utf8, lossy},
};

use super::{
    cgroup_cache::CgroupCache,
    text_cache::{ArgsCache, TextCache},
    users::Users,
};

/// Resolves users, times, units and containers.
#[derive(Debug)]
pub struct Enricher {
    /// User names.
    pub users: Users,
    /// Time of day.
    pub clock: Clock,
    cgroups: CgroupCache,
    texts: TextCache,
    args: ArgsCache,
}

impl Enricher {
    /// An enricher with these user names and this clock.
    #[must_use]
    pub fn new(users: Users, clock: Clock) -> Self {
        Self {
            users,
            clock,
            cgroups: CgroupCache::default(),
            texts: TextCache::default(),
            args: ArgsCache::default(),
        }
    }

    /// The process that a task belongs to.
    pub fn process(&mut self, task: &Task) -> Process {
        let record = &task.record;
        let comm = self.texts.of(task.comm());
        let parent_comm = self.texts.of(task.parent_comm());
        let mut process = Process {
            pid: record.tgid,
            start_time: Some(Time(self.clock.start_time(record.start_time_ns))),
            ppid: Some(record.ppid),
            comm_hex: original(&comm, task.comm()),
            comm: Some(comm),
            parent: Some(Parent {
                pid: record.ppid,
                comm_hex: original(&parent_comm, task.parent_comm()),
                comm: parent_comm,
            }),
            ns_pid: (record.ns_level > 0).then_some(record.ns_pid),
            origin_uid: task.origin_uid(),
            in_first_mntns: task.in_first_mntns(),
            ..Process::default()
        };
        if record.ppid == 0 {
            // The first process and kthreadd; also a process whose parent is outside of every pid namespace that we can name.
            process.parent = None;
        }
        self.user(&mut process, record.uid);
        self.executable(&mut process, task);
        self.arguments(&mut process, task);
        place(&mut process, task, &mut self.cgroups);
        process
    }

    /// A process of which only identity and name are known.
    #[must_use]
    pub fn named(&self, id: TaskId, comm: &[u8], why: &'static str) -> Process {
        let absent = ["ppid", "uid", "exe", "args", "cgroup", "netns"];
        Process {
            pid: id.tgid,
            start_time: Some(Time(self.clock.start_time(id.start_ns))),
            comm: Some(lossy(comm).into()),
            comm_hex: hex_of_non_utf8(comm),
            missing: absent.into_iter().map(|key| (key.into(), why.into())).collect(),
            ..Process::default()
        }
    }

    fn user(&mut self, process: &mut Process, uid: u32) {
        if uid == u32::MAX {
            note(&mut process.missing, "uid", "this kernel's credentials can't be read");
            return;
        }
        process.uid = Some(uid);
        process.user = self.users.name(uid);
        if process.user.is_none() {
            note(&mut process.missing, "user", self.users.absence());
        }
    }

    fn executable(&mut self, process: &mut Process, task: &Task) {
        if task.exe.is_empty() {
            let why = if task.no_mm() { NO_MM } else { "the kernel names no file" };
            note(&mut process.missing, "exe", why);
            return;
        }
        let exe = self.texts.of(&task.exe);
        process.exe_hex = original(&exe, &task.exe);
        process.exe = Some(exe);
    }

    fn arguments(&mut self, process: &mut Process, task: &Task) {
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
        let args = self.args.of(&task.args, cut);
        process.args = Some(Arc::clone(&args.texts));
        process.args_hex.clone_from(&args.hex);
        process.args_total_bytes = cut.then_some(task.record.args_total.into());
    }
}

/// The original bytes in hexadecimal, if they were not UTF-8 and the text has replacements.
fn original(text: &str, bytes: &[u8]) -> Option<String> {
    (text.as_bytes() != bytes).then(|| hex(bytes))
}

const NO_MM: &str = "the process had given up its memory before it could be read";

fn place(process: &mut Process, task: &Task, cgroups: &mut CgroupCache) {
    if task.cgroup.is_empty() {
        note(&mut process.missing, "cgroup", "this kernel's cgroup can't be read");
    } else {
        let group = cgroups.of(&task.cgroup);
        process.unit.clone_from(&group.unit);
        process.user_unit.clone_from(&group.user_unit);
        process.container.clone_from(&group.container);
        process.cgroup = Some(group.path.clone());
        process.cgroup_hex.clone_from(&group.path_hex);
    }
    match task.record.netns {
        0 => note(&mut process.missing, "netns", "the process had left its namespaces"),
        inum => process.netns = Some(inum),
    }
}

fn note(missing: &mut Missing, key: &'static str, why: &'static str) {
    missing.insert(key.into(), why.into());
}
