//! A process whose last thread ended.

use crate::header::Header;

/// `ExitRecord::seccomp`: strict mode (`SECCOMP_MODE_STRICT`).
pub const SECCOMP_STRICT: u32 = 1;
/// `ExitRecord::seccomp`: a filter (`SECCOMP_MODE_FILTER`).
pub const SECCOMP_FILTER: u32 = 2;
/// `ExitRecord::seccomp`: seccomp itself ended the thread (`SECCOMP_MODE_DEAD`, Linux 5.17 and later).
pub const SECCOMP_DEAD: u32 = 3;

record! {
    /// Fixed part of an exit. After it: a [`crate::task::TaskRecord`] with its segments, then `notes` times a
    /// [`crate::signal::SignalNote`], each followed by its sender where the note says so.
    pub struct ExitRecord {
        /// Kind [`crate::header::KIND_EXIT`].
        pub header: Header,
        /// wait(2)'s status word, by the rule of wait_task_zombie (kernel/exit.c): `signal->group_exit_code` with
        /// `SIGNAL_GROUP_EXIT` in `signal->flags`, else the leading thread's `exit_code`.
        pub status: u32,
        /// `task->seccomp.mode` of the last thread.
        pub seccomp: u32,
        /// Highest resident size of this program image, in pages: the larger of `mm->hiwater_rss` and the present size.
        pub peak_rss_pages: u64,
        /// Not 0 when the OOM killer had marked this process (`signal->oom_mm`).
        pub oom_mm: u64,
        /// Soft RLIMIT_CPU in seconds.
        pub rlimit_cpu_soft: u64,
        /// Hard RLIMIT_CPU in seconds.
        pub rlimit_cpu_hard: u64,
        /// Soft RLIMIT_FSIZE in bytes.
        pub rlimit_fsize: u64,
        /// Number of signal notes that follow.
        pub notes: u32,
        /// The id by which a [`LikeRecord`] names this record; 0 when none can.
        pub pattern: u32,
    } size 72
}

/// Low bits of a pattern's id, which are its place in the cache of the eBPF side; the bits above count how often that place was
/// filled. A record with the same place and another count replaces the pattern.
pub const PATTERN_PLACE_BITS: u32 = 16;

record! {
    /// A death that differs from an earlier one, its pattern, only in these fields: a crash loop or a shell's loop reports its
    /// paths and arguments once. It comes through the same ring, after its pattern.
    pub struct LikeRecord {
        /// Kind [`crate::header::KIND_EXIT_LIKE`].
        pub header: Header,
        /// As in [`crate::task::TaskRecord`].
        pub start_time_ns: u64,
        /// As in [`crate::task::TaskRecord`].
        pub mm: u64,
        /// As in [`crate::task::TaskRecord`].
        pub tgid: u32,
        /// As in [`crate::task::TaskRecord`].
        pub ppid: u32,
        /// As in [`crate::task::TaskRecord`].
        pub ns_pid: u32,
        /// [`ExitRecord::pattern`] of the earlier death.
        pub pattern: u32,
        /// Nanoseconds from the only signal's note to the death; 0 without a note. A process with an older note, or with
        /// several, is reported in full. Where the earlier process sent itself the signal, so did this one.
        pub note_age_ns: u32,
        /// As in [`ExitRecord`]: a wait status has 16 bits.
        pub status: u16,
        /// As in [`ExitRecord`]; a process with a larger number is reported in full.
        pub peak_rss_pages: u16,
    } size 56
}
