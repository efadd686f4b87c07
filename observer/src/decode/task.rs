//! Decodes a process as the kernel side captured it.
//!
//! **Invariant:** (process id, start time) identifies a process: process ids are reused.

use bytes::Bytes;
use observer_common::task::{
    TASK_CGROUP_CUT, TASK_EXE_CUT, TASK_EXE_DELETED, TASK_EXITING, TASK_FIRST_MNTNS, TASK_FORKED,
    TASK_NO_ARGS, TASK_NO_MM, TASK_PARENTS_ROOT, TASK_TRACED, TaskRecord,
};

use serde::{Deserialize, Serialize};

use super::{DecodeError, cursor::Cursor, raw};

/// A process, still in the kernel's terms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The fixed part.
    #[serde(with = "raw")]
    pub record: TaskRecord,
    /// Path of the executable; empty when unknown.
    #[serde(with = "raw::bytes")]
    pub exe: Vec<u8>,
    /// Path of the cgroup, `/` for the root; empty when unknown.
    #[serde(with = "raw::bytes")]
    pub cgroup: Vec<u8>,
    /// The arguments as they are in memory, each ended by NUL.
    #[serde(with = "raw::bytes")]
    pub args: Bytes,
}

impl Task {
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let record: TaskRecord = cursor.fixed()?;
        let exe = cursor.take(record.exe_len.into())?;
        let cgroup = cursor.take(record.cgroup_len.into())?;
        // A sender ends with its arguments, and the kernel side cuts it at a fixed size.
        let args = cursor.take_up_to(record.args_len.into());
        let flags = record.flags;
        let mut exe = if flags & TASK_NO_MM != 0 || exe.is_empty() {
            Vec::new()
        } else {
            path(exe, flags & TASK_EXE_CUT != 0)
        };
        if !exe.is_empty() && flags & TASK_EXE_DELETED != 0 {
            exe.extend_from_slice(b" (deleted)");
        }
        let cut = flags & TASK_CGROUP_CUT != 0;
        let cgroup = if cgroup.is_empty() && cut { Vec::new() } else { path(cgroup, cut) };
        Ok(Self { record, exe, cgroup, args })
    }

    /// (process id, start time).
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId { tgid: self.record.tgid, start_ns: self.record.start_time_ns }
    }

    /// The user who is held to account for how many events there are of it: in a user namespace, whoever owns the outermost one.
    /// `None` where the credentials can't be read.
    #[must_use]
    pub fn origin_uid(&self) -> Option<u32> {
        Some(self.record.origin_uid).filter(|uid| *uid != u32::MAX)
    }

    /// The process's name, up to its NUL.
    #[must_use]
    pub fn comm(&self) -> &[u8] {
        until_nul(&self.record.comm)
    }

    /// The parent's name, up to its NUL.
    #[must_use]
    pub fn parent_comm(&self) -> &[u8] {
        until_nul(&self.record.parent_comm)
    }

    /// Whether the arguments could not be read.
    #[must_use]
    pub fn args_unreadable(&self) -> bool {
        self.record.flags & TASK_NO_ARGS != 0
    }

    /// Whether the process had no memory map any more.
    #[must_use]
    pub fn no_mm(&self) -> bool {
        self.record.flags & TASK_NO_MM != 0
    }

    /// Whether the process was exiting.
    #[must_use]
    pub fn exiting(&self) -> bool {
        self.record.flags & TASK_EXITING != 0
    }

    /// Whether it lives in the mount namespace of the first process, where a path means what it means to root.
    #[must_use]
    pub fn in_first_mntns(&self) -> bool {
        self.record.flags & TASK_FIRST_MNTNS != 0
    }

    /// Whether it had the same root folder as its parent, as far as that was asked for.
    #[must_use]
    pub fn has_parents_root(&self) -> bool {
        self.record.flags & TASK_PARENTS_ROOT != 0
    }

    /// Whether a tracer had attached to it.
    #[must_use]
    pub fn traced(&self) -> bool {
        self.record.flags & TASK_TRACED != 0
    }

    /// Whether it never called execve after its fork.
    #[must_use]
    pub fn forked(&self) -> bool {
        self.record.flags & TASK_FORKED != 0
    }
}

/// Identifies a process: process ids are reused, start times are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    /// Process id in the initial namespace.
    pub tgid: u32,
    /// Start time in nanoseconds of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
}

/// Bytes up to the first NUL.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// Turns names, leaf first, into a path; `cut`: its first components are missing, and it begins with `…/`.
pub(super) fn path(names: &[u8], cut: bool) -> Vec<u8> {
    let mut path = Vec::with_capacity("…".len() + names.len() + 1);
    if cut {
        path.extend_from_slice("…".as_bytes());
    }
    for name in names.rsplit(|b| *b == 0).filter(|name| !name.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}
