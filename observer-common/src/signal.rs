//! Signals that may end a process: the eBPF side keeps a note of each in a map until the process ends.

use crate::task::COMM_LEN;

/// Origin of a signal, by the `info` argument of `send_signal` and by `si_code`: a process, by kill(2) and similar calls. The
/// sender is the process that was running.
pub const ORIGIN_USER: u32 = 0;
/// The kernel itself (`SEND_SIG_PRIV`): the process that was running has nothing to do with it.
pub const ORIGIN_KERNEL: u32 = 1;
/// A fault of the target itself (`si_code` above 0): the address is known.
pub const ORIGIN_FAULT: u32 = 2;
/// A timer, finished I/O or a message queue that the target itself asked to be told of. Whoever was running set it off, or was
/// only interrupted: a bystander.
pub const ORIGIN_TIMER: u32 = 3;

/// The target ignored the signal (`TRACE_SIGNAL_IGNORED`).
pub const NOTE_IGNORED: u32 = 1;
/// The sender was ending when it sent the signal: a parent-death signal, or the end of a pid namespace.
pub const NOTE_SENDER_EXITING: u32 = 1 << 1;
/// A [`crate::task::TaskRecord`] of the sender with its segments follows the note.
pub const NOTE_HAS_SENDER: u32 = 1 << 2;
/// Sent to one thread (tgkill), not to the process.
pub const NOTE_TO_THREAD: u32 = 1 << 3;
/// Sent without a siginfo (`SEND_SIG_NOINFO`): by the kernel, for the process that was running.
pub const NOTE_NO_INFO: u32 = 1 << 4;
/// The sender was the first process of its pid namespace.
pub const NOTE_SENDER_NS_INIT: u32 = 1 << 5;
/// A tracer had attached to the target: it may have kept the signal back.
pub const NOTE_TRACED: u32 = 1 << 6;
/// The target had a handler for the signal: it did not end it then.
pub const NOTE_HANDLED: u32 = 1 << 7;

/// SIGKILL: the first one is kept, later ones change nothing.
pub const CLASS_KILL: u32 = 0;
/// SIGTERM, SIGINT, SIGQUIT, SIGHUP from another process: a request to stop, which a process may handle.
pub const CLASS_REQUEST: u32 = 1;
/// Every other signal that ends a process by default.
pub const CLASS_OTHER: u32 = 2;
/// Number of classes.
pub const CLASSES: u32 = 3;

record! {
    /// Key of the map of notes.
    pub struct NoteKey {
        /// Process id of the target.
        pub tgid: u32,
        /// One of the `CLASS_` constants.
        pub class: u32,
    } size 8
}

record! {
    /// Key of the map of senders: a process as it was at one moment. Name, user, program and arguments may change between two
    /// signals, and an address in the kernel may come back, so the content is a part of the key.
    pub struct SenderKey {
        /// The sender's start time, as in [`crate::task::TaskRecord`].
        pub start_time_ns: u64,
        /// A hash of what was captured of the sender; 0 if nothing was.
        pub digest: u64,
        /// The sender's process id.
        pub tgid: u32,
        /// Always 0.
        pub reserved: u32,
    } size 24
}

record! {
    /// A signal when it was generated (`trace_signal_generate`, kernel/signal.c), in the sender's context.
    pub struct SignalNote {
        /// `CLOCK_BOOTTIME` in nanoseconds.
        pub time_ns: u64,
        /// Start time of the target: distinguishes it from an earlier process with the same id.
        pub target_start_ns: u64,
        /// `si_addr` of a fault; 0 otherwise.
        pub address: u64,
        /// The process that was running: the sender when the origin is [`ORIGIN_USER`], in an OOM kill the trigger.
        pub sender: SenderKey,
        /// That process's name.
        pub sender_comm: [u8; COMM_LEN],
        /// Signal number.
        pub signal: u32,
        /// `si_code`.
        pub code: i32,
        /// One of the `ORIGIN_` constants.
        pub origin: u32,
        /// `NOTE_` flags.
        pub flags: u32,
    } size 80
}

/// Most bytes kept of a sender: a [`crate::task::TaskRecord`], then the executable, the cgroup and as much of the arguments as
/// there is room for. A cgroup that has no room beside a long executable is left out.
pub const SENDER_BYTES: usize = 1280;

record! {
    /// A sender, captured when it sent a signal.
    pub struct Sender {
        /// How many of `bytes` are used.
        pub len: u32,
        /// Always 0.
        pub reserved: u32,
        /// A `TaskRecord`, then its segments.
        pub bytes: [u8; SENDER_BYTES],
    } size 1288
}
