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
        /// wait(2)'s status word: `signal->group_exit_code`, else the leading thread's `exit_code`.
        pub status: u32,
        /// `task->seccomp.mode` of the last thread.
        pub seccomp: u32,
        /// Highest resident size of this program image, in pages: `mm->hiwater_rss` or the present size, whichever is larger.
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
        /// Always 0.
        pub reserved: u32,
    } size 72
}
