//! Counters of what could not be delivered, one for each program that can lose something.
//!
//! A program has its own counter and its own scratch memory on each CPU: the kernel never runs one program twice at once
//! on one CPU, but it may run another one there when the first was preempted.

/// The first exit program.
pub const SLOT_EXIT: u32 = 0;
/// The second exit program.
pub const SLOT_EXIT_AGAIN: u32 = 1;
/// The signal program: a note that could not be kept, so that a sender stays unknown.
pub const SLOT_SIGNAL: u32 = 2;
/// The OOM program.
pub const SLOT_OOM: u32 = 3;
/// The bind programs.
pub const SLOT_BIND: u32 = 4;
/// The listen programs.
pub const SLOT_LISTEN: u32 = 5;
/// The program for the end of a listener.
pub const SLOT_STOP: u32 = 6;
/// The iterator over holders, which loses nothing.
pub const SLOT_HOLDERS: u32 = 7;
/// Number of slots.
pub const SLOTS: u32 = 8;

/// The kind of event that is missing when the program in `slot` loses a record.
#[must_use]
pub const fn lost_kind(slot: u32) -> &'static str {
    match slot {
        SLOT_EXIT | SLOT_EXIT_AGAIN => "exit",
        SLOT_SIGNAL => "signal",
        SLOT_OOM => "oom",
        SLOT_BIND => "bind",
        SLOT_LISTEN => "listen",
        SLOT_STOP => "release",
        _ => "unknown",
    }
}
