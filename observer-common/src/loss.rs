//! Slots: each program has a counter of its dropped records and scratch memory of its own, on each CPU.
//!
//! The kernel never runs one program twice at once on one CPU, but it may run another one there while the first is preempted:
//! that is why programs share neither.

/// The first exit program.
pub const SLOT_EXIT: u32 = 0;
/// The second exit program.
pub const SLOT_EXIT_AGAIN: u32 = 1;
/// The third exit program.
pub const SLOT_EXIT_THIRD: u32 = 2;
/// The signal program; it loses a note that the map does not take, and then the sender stays unknown.
pub const SLOT_SIGNAL: u32 = 3;
/// The OOM program.
pub const SLOT_OOM: u32 = 4;
/// The bind program of IPv4, or of the system call.
pub const SLOT_BIND: u32 = 5;
/// The bind program of IPv6.
pub const SLOT_BIND_INET6: u32 = 6;
/// The bind program of unix sockets.
pub const SLOT_BIND_UNIX: u32 = 7;
/// The bind program of MPTCP.
pub const SLOT_BIND_MPTCP: u32 = 8;
/// The listen program of TCP, or of the system call.
pub const SLOT_LISTEN: u32 = 9;
/// The listen program of unix sockets.
pub const SLOT_LISTEN_UNIX: u32 = 10;
/// The listen program of MPTCP.
pub const SLOT_LISTEN_MPTCP: u32 = 11;
/// The program for the end of a listener.
pub const SLOT_STOP: u32 = 12;
/// The scan, which loses nothing.
pub const SLOT_HOLDERS: u32 = 13;
/// Number of slots.
pub const SLOTS: u32 = 14;

/// The kind of event that is missing when the program of `slot` drops a record.
#[must_use]
pub const fn lost_kind(slot: u32) -> &'static str {
    match slot {
        SLOT_EXIT..=SLOT_EXIT_THIRD => "exit",
        SLOT_SIGNAL => "signal",
        SLOT_OOM => "oom",
        SLOT_BIND..=SLOT_BIND_MPTCP => "bind",
        SLOT_LISTEN..=SLOT_LISTEN_MPTCP => "listen",
        SLOT_STOP => "release",
        _ => "unknown",
    }
}
