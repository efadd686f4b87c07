//! Faults, limits, the OOM killer, and whatever else the kernel sends a signal for.

use observer_common::signal::{
    NOTE_NO_INFO, NOTE_SENDER_EXITING, NOTE_SENDER_NS_INIT, NOTE_TO_THREAD, ORIGIN_FAULT,
    ORIGIN_TIMER,
};

use super::{OTHER, PID, assert_is, assert_says, by, diagnose, diagnose_with, flagged};
use crate::{
    decode::samples::{exit, kernel_note, note, oom_exit},
    diagnose::{
        exit::{SIGHUP, SIGKILL, SIGPIPE, SIGSYS, SIGTERM, SIGXCPU, SIGXFSZ},
        oom::Join,
    },
    model::{Cause, CauseType as Type, Confidence, Scope},
};

const SIGSEGV: u32 = 11;

fn fault(signal: u32, code: i32, address: u64) -> Cause {
    let mut note = note(signal, PID);
    note.record.origin = ORIGIN_FAULT;
    note.record.code = code;
    note.record.address = address;
    by(signal, note)
}

#[test]
fn faults() {
    let cause = fault(SIGSEGV, 1, 0x18);
    let summary = "dereferenced a null pointer: SIGSEGV, SEGV_MAPERR at 0x18";
    assert_is(&cause, Type::Fault, summary, Confidence::Certain);
    assert_eq!(cause.code_name.as_deref(), Some("SEGV_MAPERR"));
    assert_eq!(cause.address.as_deref(), Some("0x18"));
    assert!(fault(SIGSEGV, 1, 0x1000).summary.starts_with("accessed an unmapped address"));
    assert!(
        fault(SIGSEGV, 2, 0x1000).summary.starts_with("accessed memory against its protection")
    );
    assert!(fault(7, 2, 0x1000).summary.starts_with("accessed a mapped file past its end"));
    assert!(fault(7, 4, 0x1000).summary.starts_with("hit a hardware memory error"));
    assert!(fault(8, 1, 0x1000).summary.starts_with("divided by zero"));
    assert!(fault(4, 1, 0x1000).summary.starts_with("executed an illegal instruction"));
    assert!(fault(5, 1, 0x1000).summary.starts_with("hit a breakpoint"));
    assert!(fault(5, 0x80, 0).remedy.is_some_and(|remedy| remedy.contains("last output")));
    assert!(fault(SIGSEGV, 77, 0x1000).summary.contains("si_code 77"));
}

#[test]
fn a_fault_without_an_address_has_none() {
    let cause = fault(SIGSEGV, 0x80, 0);
    assert_eq!((cause.cause_type, cause.address.as_deref()), (Type::Fault, None));
    assert!(!cause.summary.contains("0x0"), "{}", cause.summary);
    assert!(cause.missing.contains_key("address"));
}

#[test]
fn a_segv_that_was_sent_is_no_fault() {
    assert_eq!(by(SIGSEGV, note(SIGSEGV, OTHER)).cause_type, Type::Killed);
    assert_eq!(by(SIGSEGV, note(SIGSEGV, PID)).summary, "sent SIGSEGV to itself");
}

#[test]
fn seccomp() {
    let mut filter = note(SIGSYS, PID);
    filter.record.origin = ORIGIN_FAULT;
    filter.record.code = 1;
    let forbidden = "killed for a system call that its seccomp filter forbids";
    assert_is(&by(SIGSYS, filter), Type::Seccomp, forbidden, Confidence::Certain);
    for (mode, signal, confidence) in [
        (1, SIGKILL, Confidence::Likely),
        (3, SIGKILL, Confidence::Certain),
        (2, SIGSYS, Confidence::Likely),
        (3, SIGSYS, Confidence::Certain),
    ] {
        let mut exit = exit(PID, signal);
        exit.record.seccomp = mode;
        let cause = diagnose(&exit);
        assert_eq!((cause.cause_type, cause.confidence), (Type::Seccomp, confidence), "{mode}");
    }
    // A filter does not end anybody by SIGKILL, and a SIGSYS that was sent is no filter's.
    let mut filtered = exit(PID, SIGKILL);
    filtered.record.seccomp = 2;
    assert_eq!(diagnose(&filtered).cause_type, Type::Unknown);
    assert_eq!(by(SIGSYS, note(SIGSYS, OTHER)).cause_type, Type::Killed);
}

#[test]
fn limits_on_cpu() {
    let mut soft = exit(PID, SIGXCPU);
    // The kernel has raised it by one when the process dies.
    soft.record.rlimit_cpu_soft = 6;
    soft.notes.push(kernel_note(SIGXCPU, PID));
    let cause = diagnose(&soft);
    let summary = "killed by SIGXCPU at its CPU limit of 5 s";
    assert_is(&cause, Type::ResourceLimit, summary, Confidence::Certain);
    assert_eq!(cause.resource.as_deref(), Some("RLIMIT_CPU"));
    let mut hard = exit(PID, SIGKILL);
    hard.record.rlimit_cpu_hard = 7;
    hard.notes.push(kernel_note(SIGKILL, PID));
    let cause = diagnose(&hard);
    let summary = "killed at its hard CPU limit of 7 s";
    assert_is(&cause, Type::ResourceLimit, summary, Confidence::Likely);
}

#[test]
fn limits_on_files() {
    let mut exit = exit(PID, SIGXFSZ);
    exit.record.rlimit_fsize = 4096;
    exit.notes.push(flagged(note(SIGXFSZ, PID), NOTE_NO_INFO | NOTE_TO_THREAD));
    let cause = diagnose(&exit);
    let summary = "wrote past its file size limit of 4 KiB (SIGXFSZ)";
    assert_is(&cause, Type::ResourceLimit, summary, Confidence::Certain);
    assert_eq!((cause.resource.as_deref(), cause.limit_bytes), (Some("RLIMIT_FSIZE"), Some(4096)));
    exit.notes[0] = note(SIGXFSZ, PID);
    assert_eq!(diagnose(&exit).cause_type, Type::Killed);
}

#[test]
fn a_broken_pipe() {
    let for_its_write = flagged(note(SIGPIPE, PID), NOTE_NO_INFO | NOTE_TO_THREAD);
    assert_eq!(by(SIGPIPE, for_its_write).cause_type, Type::Pipe);
    // kill(getpid(), SIGPIPE), up to Linux 6 and from 7 on.
    assert_eq!(by(SIGPIPE, note(SIGPIPE, PID)).summary, "sent SIGPIPE to itself");
    let sent = flagged(note(SIGPIPE, PID), NOTE_NO_INFO);
    assert_eq!(by(SIGPIPE, sent).summary, "sent SIGPIPE to itself");
}

#[test]
fn the_oom_killer() {
    let join = Join {
        seq: 3,
        victim: PID,
        scope: Some(Scope::Cgroup),
        limit_cgroup: Some("/shop".to_owned()),
        limit_bytes: Some(512 << 20),
    };
    let cause = diagnose_with(&oom_exit(PID, OTHER), Some(&join), None);
    let summary = "killed by the kernel's OOM killer: /shop reached its memory limit of 512 MiB";
    assert_is(&cause, Type::OomKill, summary, Confidence::Certain);
    assert_eq!((cause.oom_seq, cause.limit_cgroup.as_deref()), (Some(3), Some("/shop")));
    // Whoever asked for memory sent nothing.
    assert_eq!(cause.sender, None);
    let partner = diagnose_with(&oom_exit(21, 21), Some(&join), None);
    assert_says(&partner, "killed it along with 20");
}

#[test]
fn the_oom_killer_by_its_mark_alone() {
    let mut marked = oom_exit(PID, OTHER);
    marked.record.oom_mm = 1;
    let cause = diagnose(&marked);
    assert_is(&cause, Type::OomKill, "killed by the kernel's OOM killer", Confidence::Certain);
    assert!(cause.missing.contains_key("oom_seq"));
    marked.notes.clear();
    assert_eq!(diagnose(&marked).cause_type, Type::OomKill);
    // A process that was killed by hand first, and marked while it was ending, was killed by hand.
    marked.notes.push(note(SIGKILL, OTHER));
    assert_eq!(diagnose(&marked).cause_type, Type::Killed);
}

#[test]
fn the_kernel_for_other_reasons() {
    let init = flagged(kernel_note(SIGKILL, OTHER), NOTE_SENDER_NS_INIT | NOTE_SENDER_EXITING);
    let cause = by(SIGKILL, init);
    let summary = "killed because process 10, pid 1 of its pid namespace, ended";
    assert_is(&cause, Type::Kernel, summary, Confidence::Certain);
    let cause = by(SIGKILL, kernel_note(SIGKILL, OTHER));
    assert_is(&cause, Type::Kernel, "killed by the kernel itself", Confidence::Certain);
    let cause = by(2, kernel_note(2, OTHER));
    let summary = "killed by SIGINT from its terminal's keyboard";
    assert_is(&cause, Type::Kernel, summary, Confidence::Likely);
    let cause = by(SIGHUP, kernel_note(SIGHUP, OTHER));
    let summary = "killed by SIGHUP: its terminal was closed";
    assert_is(&cause, Type::Kernel, summary, Confidence::Likely);
    let cause = by(SIGHUP, flagged(kernel_note(SIGHUP, OTHER), NOTE_SENDER_EXITING));
    let summary = "killed by SIGHUP when bash 10 ended: its session or terminal was gone";
    assert_is(&cause, Type::Kernel, summary, Confidence::Likely);
    let cause = by(30, kernel_note(30, OTHER));
    assert_is(&cause, Type::Kernel, "killed by SIGPWR from the kernel itself", Confidence::Certain);
}

#[test]
fn timers() {
    let cause = by(14, kernel_note(14, OTHER));
    let summary = "killed by SIGALRM from its own timer (no handler)";
    assert_is(&cause, Type::Kernel, summary, Confidence::Certain);
    // si_code below 0: whoever may send the signal may write it.
    let mut posix = kernel_note(10, OTHER);
    posix.record.origin = ORIGIN_TIMER;
    posix.record.code = -2;
    let cause = by(10, posix);
    let summary = "killed by SIGUSR1 from its own timer (no handler)";
    assert_is(&cause, Type::Kernel, summary, Confidence::Likely);
}

#[test]
fn nothing_is_made_up() {
    let cause = diagnose(&exit(PID, SIGKILL));
    let summary = "killed by SIGKILL; its sender was not seen";
    assert_is(&cause, Type::Unknown, summary, Confidence::Possible);
    // A note of another signal explains nothing.
    assert_eq!(by(SIGKILL, note(SIGTERM, OTHER)).cause_type, Type::Unknown);
}
