//! The cause of a death.

mod prompt;
mod signalled;

use std::borrow::Cow;

use observer_common::{
    exit::{SECCOMP_DEAD, SECCOMP_FILTER, SECCOMP_STRICT},
    signal::ORIGIN_KERNEL,
};

use super::{oom::Join, recent::Recent};
use crate::{
    decode::{Exit, Note},
    model::{Cause, CauseType, Confidence, Process, human, signal_name},
};

/// A signal that was sent to the process, with its sender as a reader sees it.
#[derive(Clone, Debug)]
pub struct Noted {
    /// What the kernel side kept.
    pub note: Note,
    /// The process that ran when the signal was made.
    pub sender: Process,
}

/// Everything that is known of a death.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The record.
    pub exit: &'a Exit,
    /// Signals sent to it.
    pub notes: &'a [Noted],
    /// The OOM kill it belongs to.
    pub oom: Option<&'a Join>,
    /// For an exit code of 128 and a signal: the child that this signal ended.
    pub child: Option<&'a Recent>,
}

impl<'a> Facts<'a> {
    /// The last signal of the kind that ended it: an earlier one it may have handled, or a tracer kept it back.
    fn fatal(self) -> Option<&'a Noted> {
        let signal = self.exit.record.status & 0x7f;
        let same = self.notes.iter().filter(|n| signal != 0 && n.note.record.signal == signal);
        same.max_by_key(|noted| noted.note.record.time_ns)
    }
}

const SIGHUP: u32 = 1;
const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGABRT: u32 = 6;
const SIGKILL: u32 = 9;
const SIGPIPE: u32 = 13;
const SIGTERM: u32 = 15;
const SIGXCPU: u32 = 24;
const SIGXFSZ: u32 = 25;
const SIGSYS: u32 = 31;

/// Works out the cause.
#[must_use]
pub fn cause(facts: Facts<'_>) -> Cause {
    let status = facts.exit.record.status;
    let signal = status & 0x7f;
    let mut cause = if signal == 0 {
        exit_code(facts, (status >> 8) & 0xff)
    } else {
        match facts.fatal() {
            Some(noted) => signalled::signalled(facts, signal, noted),
            None => unannounced(facts, signal),
        }
    };
    if matches!(cause.cause_type, CauseType::ExitCode | CauseType::Killed | CauseType::OomDaemon) {
        prompt::prompt(facts, signal, &mut cause);
    }
    cause
}

fn exit_code(facts: Facts<'_>, code: u32) -> Cause {
    let summary = match code {
        0 => "ended with exit code 0".into(),
        _ => Cow::from(format!("ended by itself with exit code {code}")),
    };
    let cause = Cause::new(CauseType::ExitCode, summary, Confidence::Certain);
    // Exit codes by which shells and their like report a signal, each with that signal.
    let reported = (129..=192).contains(&code).then(|| code - 128);
    match (code, reported, facts.child) {
        (0, ..) => cause.because("wait status 0x0000"),
        (_, Some(signal), Some(child)) => {
            let how = match child.signal {
                Some(signal) => format!("died of {}", signal_name(signal)),
                None => format!("exited with code {code} too,"),
            };
            let before = human::span(seconds_between(child.time_ns, facts.exit.time_ns));
            let (comm, pid) = (&child.comm, child.id.tgid);
            cause.because(format!(
                "{code} is 128 + {signal}: its child {comm} {pid} {how} {before} before"
            ))
        }
        (_, Some(signal), None) if was_asked(facts, signal) => cause.because(format!(
            "{code} is 128 + {signal}: many programs exit with it after {}",
            signal_name(signal),
        )),
        (_, Some(signal), None) => cause.because(format!(
            "{code} is 128 + {signal}, as a shell reports {}, but no child of it was seen to die of that signal",
            signal_name(signal),
        )),
        (124, ..) if facts.exit.task.comm() == b"timeout" => {
            cause.because("timeout(1) exits with 124 when the time is up")
        }
        (127, ..) => cause.because("a shell exits with 127 when a command is not found"),
        (126, ..) => cause.because("a shell exits with 126 when it cannot run a command"),
        _ => cause.because(format!("wait status {:#06x}", facts.exit.record.status)),
    }
}

/// Whether that signal was sent to it.
fn was_asked(facts: Facts<'_>, signal: u32) -> bool {
    facts.notes.iter().any(|noted| noted.note.record.signal == signal && !noted.note.ignored())
}

/// A death by a signal that nobody was seen to send.
fn unannounced(facts: Facts<'_>, signal: u32) -> Cause {
    let name = signal_name(signal);
    let seccomp = facts.exit.record.seccomp;
    if signal == SIGKILL && (facts.oom.is_some() || facts.exit.record.oom_mm != 0) {
        return super::oom::death(facts);
    }
    let dead = if seccomp == SECCOMP_DEAD { Confidence::Certain } else { Confidence::Likely };
    if signal == SIGKILL && matches!(seccomp, SECCOMP_STRICT | SECCOMP_DEAD) {
        return Cause::new(
            CauseType::Seccomp,
            "killed for a system call that strict seccomp forbids".to_owned(),
            dead,
        )
        .because("SIGKILL ended it and no signal was sent: strict seccomp works like this")
        .because(seccomp_mode(seccomp));
    }
    if signal == SIGSYS && matches!(seccomp, SECCOMP_FILTER | SECCOMP_DEAD) {
        return Cause::new(
            CauseType::Seccomp,
            "killed for a system call that its seccomp filter forbids".to_owned(),
            dead,
        )
        .because("SIGSYS ended it and no signal was sent: a seccomp filter that kills the thread works like this")
        .because(seccomp_mode(seccomp));
    }
    Cause::new(
        CauseType::Unknown,
        format!("killed by {name}; its sender was not seen"),
        Confidence::Possible,
    )
    .because(format!(
        "no {name} to this process was seen: it was sent before observer started, or newer signals replaced the note of it"
    ))
}

/// The state of seccomp, in words.
fn seccomp_mode(mode: u32) -> String {
    let name = match mode {
        SECCOMP_STRICT => "strict",
        SECCOMP_FILTER => "filter",
        SECCOMP_DEAD => "dead (seccomp ended the thread)",
        _ => "off",
    };
    format!("seccomp mode at its end: {name}")
}

/// Seconds between two moments of `CLOCK_BOOTTIME`; 0 when they are the wrong way round.
#[must_use]
pub fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    std::time::Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64()
}

/// Whether a death may be the OOM killer's: the kernel sent SIGKILL, and nothing says what else for. Processes that share
/// a victim's memory are killed along without a mark of their own; one of them may be who asked for memory.
#[must_use]
pub fn may_be_oom(exit: &Exit) -> bool {
    let kill = exit.notes.iter().find(|note| note.record.signal == SIGKILL);
    let by_kernel = |note: &Note| {
        note.record.origin == ORIGIN_KERNEL
            && !(note.sender_is_namespace_init() && note.sender_exiting())
    };
    exit.record.status & 0x7f == SIGKILL && kill.map_or(exit.record.oom_mm != 0, by_kernel)
}

#[cfg(test)]
mod tests;
