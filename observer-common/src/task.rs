//! A process as the kernel had it at the moment of an event.

/// Longest argument list that is kept, in bytes; a longer one is cut.
pub const ARGS_MAX: u32 = 4096;
/// Longest argument list that is kept of a process that the record is not about (the sender of a signal).
pub const OTHER_ARGS_MAX: u32 = 512;
/// Longest path (executable, cgroup) that is kept, in bytes; a longer one loses its first components.
pub const PATH_MAX: u32 = 768;
/// The kernel's `TASK_COMM_LEN`.
pub const COMM_LEN: usize = 16;

/// The process had no memory map left (`task->mm` was NULL): no arguments, no executable, no memory figures.
pub const TASK_NO_MM: u32 = 1;
/// The arguments could not be read: their page was not in memory, or the process was not the running one.
pub const TASK_NO_ARGS: u32 = 1 << 1;
/// The executable's file was deleted or replaced after the start (its dentry is unhashed).
pub const TASK_EXE_DELETED: u32 = 1 << 2;
/// The executable's path was longer than [`PATH_MAX`] or had too many components: its first ones are missing.
pub const TASK_EXE_CUT: u32 = 1 << 3;
/// As [`TASK_EXE_CUT`], for the cgroup's path.
pub const TASK_CGROUP_CUT: u32 = 1 << 4;
/// The cgroup is the one of the v1 memory controller, since the process is in the root of the v2 hierarchy.
pub const TASK_CGROUP_V1: u32 = 1 << 5;
/// The process was already ending (`PF_EXITING`).
pub const TASK_EXITING: u32 = 1 << 6;
/// The process never called exec after its fork (`PF_FORKNOEXEC`): it runs its parent's program.
pub const TASK_FORKED: u32 = 1 << 7;
/// It lives in the mount namespace of the first process ([`crate::settings::FIRST_MNTNS`]): a path means what it means to root.
pub const TASK_FIRST_MNTNS: u32 = 1 << 8;
/// A tracer had attached to it (`task->ptrace`).
pub const TASK_TRACED: u32 = 1 << 9;
/// It has the same root folder as its parent (`task->fs->root`). Only a [`crate::socket::BindRecord`] says so.
pub const TASK_PARENTS_ROOT: u32 = 1 << 10;

record! {
    /// Identity and namespaces of a process. Three segments follow it: the components of the executable's path and those of the
    /// cgroup's path, leaf first, and the arguments as in the process's memory. Each component and argument ends with NUL.
    pub struct TaskRecord {
        /// `task->group_leader->start_boottime`: nanoseconds of `CLOCK_BOOTTIME`. With `tgid` it identifies a process for good.
        pub start_time_ns: u64,
        /// `task->mm` as a number: equal for processes that share their memory. Never an address to read.
        pub mm: u64,
        /// Process id in the initial pid namespace.
        pub tgid: u32,
        /// `task->real_parent->tgid`.
        pub ppid: u32,
        /// Real user id in the initial user namespace.
        pub uid: u32,
        /// Inode number of the network namespace; 0 when unknown.
        pub netns: u32,
        /// Inode number of the pid namespace the process lives in; 0 when unknown.
        pub pidns: u32,
        /// Process id inside that namespace.
        pub ns_pid: u32,
        /// Whose process it is: `uid`, or in a user namespace of somebody's the owner of the outermost one. Whoever has many user
        /// ids in a namespace of his own is one user.
        pub origin_uid: u32,
        /// Depth of the pid namespace: 0 is the initial one.
        pub ns_level: u32,
        /// `TASK_` flags.
        pub flags: u32,
        /// Length of the whole argument list in the process's memory, in bytes.
        pub args_total: u32,
        /// Length of the first segment: the executable.
        pub exe_len: u16,
        /// Length of the second segment: the cgroup.
        pub cgroup_len: u16,
        /// Length of the third segment: the arguments.
        pub args_len: u16,
        /// Always 0.
        pub reserved: u16,
        /// The process's name: that of its leading thread.
        pub comm: [u8; COMM_LEN],
        /// The parent's name.
        pub parent_comm: [u8; COMM_LEN],
    } size 96
}
