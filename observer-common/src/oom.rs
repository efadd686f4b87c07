//! The OOM killer chose a victim.

use crate::header::Header;

/// Most levels of memory cgroups, from the victim's own upwards.
pub const LEVELS: usize = 8;
/// Most kernel stack frames.
pub const FRAMES: usize = 24;
/// `OomRecord::constraint` when no hook could read `oom_control`.
pub const CONSTRAINT_UNKNOWN: u32 = u32::MAX;
/// `OomRecord::limit_level` when no hook could read `oom_control`, or the kill was not a cgroup's.
pub const LEVEL_UNKNOWN: u32 = u32::MAX;

/// `OomRecord::flags`: the kernel sent SIGKILL. Without it, the process was ending anyway and the kernel only marked it.
pub const OOM_KILL_SENT: u32 = 1;

record! {
    /// One memory cgroup's counters, in pages (`struct page_counter`).
    pub struct MemoryLevel {
        /// `memory.usage`.
        pub usage: u64,
        /// `memory.max`; above 2^51 means no limit.
        pub max: u64,
        /// v1 only: memory and swap together.
        pub memsw_usage: u64,
        /// v1 only: the limit of both.
        pub memsw_max: u64,
    } size 32
}

record! {
    /// Fixed part of an OOM kill. After it two segments, the victim's and the trigger's memory cgroups as components, leaf
    /// first; then the victim and the trigger, each a [`crate::task::TaskRecord`] with segments.
    pub struct OomRecord {
        /// Kind [`crate::header::KIND_OOM`].
        pub header: Header,
        /// `mm->total_vm` in pages.
        pub total_vm: u64,
        /// Resident anonymous pages.
        pub anon_rss: u64,
        /// Resident pages of files.
        pub file_rss: u64,
        /// Resident pages of shared memory.
        pub shmem_rss: u64,
        /// `mm->pgtables_bytes` in bytes.
        pub page_tables: u64,
        /// `oom_control.totalpages`: the memory that the kill was about (cgroup, nodes or machine), in pages; 0 when unknown.
        pub total_pages: u64,
        /// `signal->oom_score_adj`.
        pub oom_score_adj: i32,
        /// `OOM_` flags.
        pub flags: u32,
        /// `oom_control.constraint` (`enum oom_constraint`), or [`CONSTRAINT_UNKNOWN`].
        pub constraint: u32,
        /// Index in `levels` of the cgroup whose limit was hit (`oom_control.memcg`), or [`LEVEL_UNKNOWN`].
        pub limit_level: u32,
        /// How many of `levels` are used.
        pub levels_len: u32,
        /// How many of `frames` are used.
        pub frames_len: u32,
        /// Length of the first segment: the path of `levels[0]`, in the hierarchy that has the memory controller.
        pub victim_memory_len: u32,
        /// Length of the second segment: the path of the trigger's memory cgroup.
        pub trigger_memory_len: u32,
        /// From the victim's memory cgroup up to the root.
        pub levels: [MemoryLevel; LEVELS],
        /// Kernel addresses of the callers.
        pub frames: [u64; FRAMES],
    } size 544
}
