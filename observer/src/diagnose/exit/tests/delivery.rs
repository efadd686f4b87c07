//! A signal that was generated may not be the one that was delivered.

use observer_common::{
    signal::{NOTE_HANDLED, NOTE_TRACED, ORIGIN_TIMER},
    task::TASK_TRACED,
};

use super::{OTHER, PID, assert_is, assert_says, at, by, diagnose, flagged};
use crate::{
    decode::samples::{exit, note},
    diagnose::exit::{SIGKILL, SIGTERM},
    model::{CauseType as Type, Confidence},
};

#[test]
fn its_own_later_one_wins_and_names_who_asked() {
    let mut death = exit(PID, SIGTERM);
    death.notes.push(flagged(at(note(SIGTERM, OTHER), 2), NOTE_HANDLED));
    death.notes.push(at(note(SIGTERM, PID), 1));
    let cause = diagnose(&death);
    let summary = "sent SIGTERM to itself, 1.0 s after SIGTERM from bash 10";
    assert_is(&cause, Type::Killed, summary, Confidence::Certain);
    assert_eq!(cause.sender.map(|sender| sender.pid), Some(PID));
    let asked = cause.prompted_by.and_then(|prompt| prompt.sender);
    assert_eq!(asked.map(|sender| sender.pid), Some(OTHER));
}

#[test]
fn a_tracer_may_have_kept_it_back() {
    let killed = "killed by SIGTERM from bash 10";
    let cause = by(SIGTERM, flagged(note(SIGTERM, OTHER), NOTE_TRACED));
    assert_is(&cause, Type::Killed, killed, Confidence::Likely);
    assert_says(&cause, "it was being traced");
    // The tracer came later.
    let mut death = exit(PID, SIGTERM);
    death.notes.push(note(SIGTERM, OTHER));
    death.task.record.flags |= TASK_TRACED;
    assert_is(&diagnose(&death), Type::Killed, killed, Confidence::Likely);
    // No tracer keeps SIGKILL back.
    let cause = by(SIGKILL, flagged(note(SIGKILL, OTHER), NOTE_TRACED));
    assert_is(&cause, Type::Killed, "killed by SIGKILL from bash 10", Confidence::Certain);
}

#[test]
fn one_that_was_handled_is_not_certain() {
    let cause = by(SIGTERM, flagged(note(SIGTERM, OTHER), NOTE_HANDLED));
    assert_is(&cause, Type::Killed, "killed by SIGTERM from bash 10", Confidence::Likely);
    assert_says(&cause, "it had a handler for SIGTERM then");
}

#[test]
fn whoever_sends_a_message_or_writes_is_no_killer() {
    for (code, what) in [
        (-3, "a message queue that it watches (mq_notify)"),
        (-2, "its own timer"),
        (-4, "its own I/O"),
        (1, "a file or socket that it watches (fcntl F_SETSIG)"),
    ] {
        let mut set_off = note(SIGKILL, OTHER);
        (set_off.record.code, set_off.record.origin) = (code, ORIGIN_TIMER);
        let cause = by(SIGKILL, set_off);
        let summary = format!("killed by SIGKILL from {what} (no handler)");
        assert_is(&cause, Type::Kernel, &summary, Confidence::Likely);
        assert_eq!(cause.sender, None);
    }
}
