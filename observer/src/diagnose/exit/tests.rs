//! Every type of cause, each from the facts that make it and those that nearly do: by itself, by a process.

mod by_kernel;
mod delivery;

use observer_common::signal::{NOTE_IGNORED, NOTE_NO_INFO, NOTE_SENDER_EXITING, NOTE_TO_THREAD};

use super::{Facts, Noted, SIGABRT, SIGHUP, SIGKILL, SIGTERM, cause};
use crate::{
    decode::{
        Exit, Note, TaskId,
        samples::{DEATH, SECOND, exit, kernel_note, note},
    },
    diagnose::{oom::Join, recent::Recent},
    model::{Cause, CauseType as Type, Confidence, Process},
};

const PID: u32 = 20;
const OTHER: u32 = 10;

/// The sender as the pipeline resolves it.
fn noted(note: &Note) -> Noted {
    let sender =
        Process { pid: note.record.sender.tgid, comm: Some("bash".into()), ..Process::default() };
    Noted { note: note.clone(), sender }
}

fn diagnose(exit: &Exit) -> Cause {
    diagnose_with(exit, None, None)
}

fn diagnose_with(exit: &Exit, oom: Option<&Join>, child: Option<&Recent>) -> Cause {
    let notes: Vec<Noted> = exit.notes.iter().map(noted).collect();
    cause(Facts { exit, notes: &notes, oom, child })
}

/// The cause of a death by `signal`, which is what was noted.
fn by(signal: u32, note: Note) -> Cause {
    let mut exit = exit(PID, signal);
    exit.notes.push(note);
    diagnose(&exit)
}

fn flagged(mut note: Note, flags: u32) -> Note {
    note.record.flags = flags;
    note
}

fn at(mut note: Note, before_seconds: u64) -> Note {
    note.record.time_ns = DEATH - before_seconds * SECOND;
    note
}

#[track_caller]
fn assert_is(cause: &Cause, cause_type: Type, summary: &str, confidence: Confidence) {
    assert_eq!((cause.cause_type, &*cause.summary), (cause_type, summary));
    assert_eq!(cause.confidence, confidence, "{cause:?}");
    assert!(!cause.evidence.is_empty(), "no evidence: {cause:?}");
}

#[track_caller]
fn assert_says(cause: &Cause, words: &str) {
    assert!(
        cause.evidence.iter().any(|line| line.contains(words)),
        "{words:?}: {:?}",
        cause.evidence
    );
}

#[test]
fn exit_codes() {
    let cause = diagnose(&exit(PID, 0));
    assert_is(&cause, Type::ExitCode, "ended with exit code 0", Confidence::Certain);
    let cause = diagnose(&exit(PID, 3 << 8));
    assert_is(&cause, Type::ExitCode, "ended by itself with exit code 3", Confidence::Certain);
    assert_says(&diagnose(&exit(PID, 127 << 8)), "is not found");
    assert_says(&diagnose(&exit(PID, 126 << 8)), "cannot run a command");
    assert_says(&diagnose(&exit(PID, 255 << 8)), "0xff00");
    assert_says(&diagnose(&exit(PID, 124 << 8)), "0x7c00");
    let mut timeout = exit(PID, 124 << 8);
    timeout.task.record.comm[..8].copy_from_slice(b"timeout\0");
    assert_says(&diagnose(&timeout), "the time is up");
}

#[test]
fn exit_code_137_is_no_sigkill() {
    let mut exit = exit(PID, 137 << 8);
    let cause = diagnose(&exit);
    assert_is(&cause, Type::ExitCode, "ended by itself with exit code 137", Confidence::Certain);
    assert_says(&cause, "no child of it was seen");
    // A SIGKILL on the way to a process that ended by itself ended nobody.
    exit.notes.push(note(SIGKILL, OTHER));
    let cause = diagnose(&exit);
    assert_eq!((cause.cause_type, cause.sender), (Type::ExitCode, None));
}

#[test]
fn exit_code_of_a_shell_names_the_child() {
    let mut child = Recent {
        id: TaskId { tgid: 30, start_ns: 0 },
        ppid: PID,
        signal: Some(SIGKILL),
        shell_status: 137,
        time_ns: DEATH - 2 * SECOND,
        comm: "node".into(),
    };
    let exit = exit(PID, 137 << 8);
    let cause = diagnose_with(&exit, None, Some(&child));
    assert_says(&cause, "128 + 9: its child node 30 died of SIGKILL 2.0 s before");
    child.signal = None;
    let cause = diagnose_with(&exit, None, Some(&child));
    assert_says(&cause, "its child node 30 exited with code 137 too, 2.0 s before");
}

#[test]
fn stopped_when_asked() {
    let mut exit = exit(PID, 0);
    exit.notes.push(note(SIGTERM, OTHER));
    let cause = diagnose(&exit);
    let summary = "ended with exit code 0, 1.0 s after SIGTERM from bash 10";
    assert_is(&cause, Type::ExitCode, summary, Confidence::Certain);
    let prompt = cause.prompted_by.expect("a prompt");
    assert_eq!((prompt.signal, prompt.seconds, prompt.ignored), (15, 1.0, false));
    assert_eq!(prompt.sender.map(|sender| sender.pid), Some(OTHER));
}

#[test]
fn exit_code_143_after_sigterm_is_no_shell() {
    let mut exit = exit(PID, 143 << 8);
    exit.notes.push(note(SIGTERM, OTHER));
    let cause = diagnose(&exit);
    assert_says(&cause, "143 is 128 + 15: many programs exit with it");
    assert!(cause.prompted_by.is_some());
}

#[test]
fn what_is_no_prompt() {
    let long_ago = at(note(SIGTERM, OTHER), 101);
    let reload = at(note(SIGHUP, OTHER), 11);
    let ignored = flagged(note(SIGTERM, OTHER), NOTE_IGNORED);
    let own = note(SIGTERM, PID);
    let no_request = note(12, OTHER);
    for note in [long_ago, reload, ignored, own, no_request] {
        let mut exit = exit(PID, 0);
        exit.notes.push(note);
        assert_eq!(diagnose(&exit).prompted_by, None, "{:?}", exit.notes);
    }
}

#[test]
fn a_keyboard_prompts_without_a_sender() {
    let mut exit = exit(PID, 130 << 8);
    exit.notes.push(kernel_note(2, OTHER));
    let prompt = diagnose(&exit).prompted_by.expect("a prompt");
    assert_eq!((&*prompt.signal_name, prompt.sender), ("SIGINT", None));
}

#[test]
fn killed_by_a_process() {
    let cause = by(SIGKILL, note(SIGKILL, OTHER));
    assert_is(&cause, Type::Killed, "killed by SIGKILL from bash 10", Confidence::Certain);
    assert_eq!(cause.sender.map(|sender| sender.pid), Some(OTHER));
}

#[test]
fn killed_after_it_did_not_stop() {
    let mut exit = exit(PID, SIGKILL);
    exit.notes.push(note(SIGKILL, OTHER));
    exit.notes.push(at(flagged(note(SIGTERM, OTHER), NOTE_IGNORED), 91));
    let cause = diagnose(&exit);
    let summary = "killed by SIGKILL from bash 10, 1 min 30 s after SIGTERM, which it ignores";
    assert_is(&cause, Type::Killed, summary, Confidence::Certain);
    assert!(cause.prompted_by.is_some_and(|prompt| prompt.ignored));
}

#[test]
fn a_request_after_the_fatal_signal_is_no_prompt() {
    let mut exit = exit(PID, SIGKILL);
    exit.notes.push(at(note(SIGKILL, OTHER), 5));
    exit.notes.push(at(note(SIGTERM, OTHER), 2));
    assert_eq!(diagnose(&exit).prompted_by, None);
}

#[test]
fn killed_through_its_cgroup() {
    let cause = by(SIGKILL, flagged(note(SIGKILL, OTHER), NOTE_NO_INFO | NOTE_TO_THREAD));
    assert_eq!(cause.cause_type, Type::Killed);
    assert_says(&cause, "cgroup.kill");
    // From Linux 7 on kill(2) brings no siginfo either, but goes to the process.
    let cause = by(SIGKILL, flagged(note(SIGKILL, OTHER), NOTE_NO_INFO));
    assert!(!cause.evidence.iter().any(|line| line.contains("cgroup.kill")));
}

#[test]
fn killed_with_its_parent() {
    let cause = by(SIGTERM, flagged(note(SIGTERM, OTHER), NOTE_NO_INFO | NOTE_SENDER_EXITING));
    let summary = "killed by SIGTERM because its parent bash 10 ended";
    assert_is(&cause, Type::Killed, summary, Confidence::Certain);
}

#[test]
fn sent_to_itself() {
    let cause = by(SIGTERM, note(SIGTERM, PID));
    assert_is(&cause, Type::Killed, "sent SIGTERM to itself", Confidence::Certain);
    let cause = by(SIGABRT, note(SIGABRT, PID));
    assert_is(&cause, Type::Abort, "aborted itself (SIGABRT)", Confidence::Certain);
    // Another one's SIGABRT, such as a watchdog's, is no abort.
    assert_eq!(by(SIGABRT, note(SIGABRT, OTHER)).cause_type, Type::Killed);
}

#[test]
fn an_oom_daemon() {
    let mut exit = exit(PID, SIGKILL);
    exit.notes.push(note(SIGKILL, OTHER));
    let mut notes: Vec<Noted> = exit.notes.iter().map(noted).collect();
    notes[0].sender.exe = Some("/usr/bin/earlyoom".into());
    notes[0].sender.cgroup = Some("/system.slice/earlyoom.service".into());
    notes[0].sender.uid = Some(0);
    let diagnosed = cause(Facts { exit: &exit, notes: &notes, oom: None, child: None });
    let summary = "killed by earlyoom to free memory (SIGKILL from bash 10)";
    assert_is(&diagnosed, Type::OomDaemon, summary, Confidence::Certain);
    assert_eq!(diagnosed.daemon.as_deref(), Some("earlyoom"));
    // Its name alone is a claim.
    notes[0].sender.exe = Some("/home/eve/earlyoom".into());
    assert_eq!(
        cause(Facts { exit: &exit, notes: &notes, oom: None, child: None }).cause_type,
        Type::Killed
    );
}
