//! The cause of a death.

use observer_common::{
    exit::{SECCOMP_DEAD, SECCOMP_FILTER, SECCOMP_STRICT},
    signal::{NOTE_TO_THREAD, ORIGIN_FAULT, ORIGIN_KERNEL, ORIGIN_TIMER},
};

use super::{daemon, oom::Join, recent::Recent};
use crate::{
    decode::{Exit, Note},
    model::{Cause, CauseType, Confidence, Process, Prompt, fault_code_name, human, signal_name},
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

const SIGHUP: u32 = 1;
const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGABRT: u32 = 6;
const SIGKILL: u32 = 9;
const SIGPIPE: u32 = 13;
const SIGALRM: u32 = 14;
const SIGXCPU: u32 = 24;
const SIGXFSZ: u32 = 25;
const SIGVTALRM: u32 = 26;
const SIGPROF: u32 = 27;
const SIGSYS: u32 = 31;
const SYS_SECCOMP: i32 = 1;

/// Works out the cause.
#[must_use]
pub fn cause(facts: Facts<'_>) -> Cause {
    let status = facts.exit.record.status;
    let signal = status & 0x7f;
    let mut cause = if signal == 0 {
        exit_code(facts, (status >> 8) & 0xff)
    } else {
        match facts.notes.iter().find(|noted| noted.note.record.signal == signal) {
            Some(noted) => signalled(facts, signal, noted),
            None => unannounced(facts, signal),
        }
    };
    if matches!(cause.cause_type, CauseType::ExitCode | CauseType::Killed | CauseType::OomDaemon) {
        prompt(facts, signal, &mut cause);
    }
    cause
}

fn exit_code(facts: Facts<'_>, code: u32) -> Cause {
    let summary = match code {
        0 => "ended with exit code 0".to_owned(),
        _ => format!("ended by itself with exit code {code}"),
    };
    let cause = Cause::new(CauseType::ExitCode, summary, Confidence::Certain);
    match (code, facts.child) {
        (129.., Some(child)) => cause.because(format!(
            "{code} is 128 + {}: its child {} {} was ended by {} {} before (event {})",
            child.signal,
            child.comm,
            child.id.tgid,
            signal_name(child.signal),
            human::span(seconds_between(child.time_ns, facts.exit.time_ns)),
            child.seq,
        )),
        (129..=192, None) => cause.because(format!(
            "{code} is 128 + {}, a shell's way to report {}, but none of its children was seen to die of it",
            code - 128,
            signal_name(code - 128),
        )),
        (127, _) => cause.because("127 is a shell's way to report a command that was not found"),
        (126, _) => cause.because("126 is a shell's way to report a command that could not be run"),
        _ => cause.because(format!("wait status {:#06x}", facts.exit.record.status)),
    }
}

/// A death by a signal whose generation was seen.
fn signalled(facts: Facts<'_>, signal: u32, noted: &Noted) -> Cause {
    let own = noted.note.sender_id() == facts.exit.task.id();
    match noted.note.record.origin {
        ORIGIN_KERNEL => from_kernel(facts, signal, noted, own),
        ORIGIN_TIMER => timer(signal),
        ORIGIN_FAULT => fault(facts, signal, noted),
        _ if own => from_itself(facts, signal, noted),
        _ => from_other(signal, noted),
    }
}

fn from_kernel(facts: Facts<'_>, signal: u32, noted: &Noted, own: bool) -> Cause {
    let name = signal_name(signal);
    if signal == SIGKILL && (facts.oom.is_some() || facts.exit.record.oom_mm != 0) {
        return super::oom::death(facts);
    }
    if signal == SIGKILL && noted.note.sender_is_namespace_init() && noted.note.sender_exiting() {
        let init = noted.note.record.sender.tgid;
        return Cause::new(
            CauseType::Kernel,
            format!("killed because the first process of its pid namespace, {init}, ended"),
            Confidence::Certain,
        )
        .because("the kernel sent SIGKILL while that process was ending (zap_pid_ns_processes)");
    }
    let hard = facts.exit.record.rlimit_cpu_hard;
    if signal == SIGKILL && own && hard != u64::MAX {
        let mut cause = Cause::new(
            CauseType::ResourceLimit,
            format!("killed at its hard CPU limit of {hard} s"),
            Confidence::Likely,
        )
        .because(format!(
            "the kernel sent SIGKILL while the process itself ran; RLIMIT_CPU is {hard} s"
        ));
        cause.resource = Some("RLIMIT_CPU".to_owned());
        return cause;
    }
    match signal {
        SIGXCPU => {
            let soft = facts.exit.record.rlimit_cpu_soft;
            let mut cause = Cause::new(
                CauseType::ResourceLimit,
                format!("ended by SIGXCPU at its CPU limit of {soft} s"),
                Confidence::Certain,
            )
            .because(format!("the kernel sent SIGXCPU; RLIMIT_CPU is {soft} s"));
            cause.resource = Some("RLIMIT_CPU".to_owned());
            cause
        }
        SIGALRM | SIGVTALRM | SIGPROF => timer(signal),
        SIGHUP | SIGINT | SIGQUIT => Cause::new(
            CauseType::Kernel,
            match signal {
                SIGHUP => "ended by SIGHUP: its terminal was closed".to_owned(),
                _ => format!("ended by {name} from its terminal's keyboard"),
            },
            Confidence::Likely,
        )
        .because(format!("the kernel sent {name}, not a process")),
        _ => Cause::new(
            CauseType::Kernel,
            format!("the kernel itself sent {name}"),
            Confidence::Certain,
        )
        .because("the signal came without a sender (SEND_SIG_PRIV) and no OOM kill was under way"),
    }
}

fn timer(signal: u32) -> Cause {
    let name = signal_name(signal);
    Cause::new(
        CauseType::Kernel,
        format!("ended by {name} from a timer of its own that it did not handle"),
        Confidence::Certain,
    )
    .because(format!("the kernel sent {name}; no process did"))
}

fn fault(facts: Facts<'_>, signal: u32, noted: &Noted) -> Cause {
    let record = &noted.note.record;
    let name = signal_name(signal);
    let code_name = fault_code_name(signal, record.code);
    let code = code_name.map_or_else(|| format!("si_code {}", record.code), str::to_owned);
    if signal == SIGSYS && record.code == SYS_SECCOMP {
        let mut cause = Cause::new(
            CauseType::Seccomp,
            "killed for a system call that its seccomp filter forbids".to_owned(),
            Confidence::Certain,
        )
        .because("SIGSYS with si_code SYS_SECCOMP")
        .because(format!("seccomp mode at its end: {}", facts.exit.record.seccomp));
        cause.code_name = Some("SYS_SECCOMP".to_owned());
        return cause;
    }
    if !matches!(signal, 4 | 5 | 7 | 8 | 11) {
        return Cause::new(
            CauseType::Kernel,
            format!("the kernel sent {name} ({code})"),
            Confidence::Certain,
        )
        .because(format!("si_code {}, which only the kernel uses", record.code));
    }
    let known = code_name != Some("SI_KERNEL");
    let what = match (signal, code_name, record.address) {
        (11, Some("SEGV_MAPERR"), 0..4096) => "used a null pointer".to_owned(),
        (11, Some("SEGV_MAPERR"), _) => "used an address that is not mapped".to_owned(),
        (11, Some("SEGV_ACCERR"), _) => "used memory in a way it may not".to_owned(),
        (7, Some("BUS_ADRERR"), _) => {
            "used mapped memory that has nothing behind it, such as past the end of a file"
                .to_owned()
        }
        (8, Some("FPE_INTDIV"), _) => "divided by zero".to_owned(),
        (4, ..) => "ran into an instruction that is none".to_owned(),
        (5, ..) => "ran into a breakpoint or a trap".to_owned(),
        _ => "did what the processor refused".to_owned(),
    };
    let at = if known { format!(" at {:#x}", record.address) } else { String::new() };
    let mut cause =
        Cause::new(CauseType::Fault, format!("{what}: {name}, {code}{at}"), Confidence::Certain)
            .because(format!("the kernel sent {name} with {code} for what the process itself did"));
    cause.code_name = Some(code);
    if known {
        cause.address = Some(format!("{:#x}", record.address));
    } else {
        cause.missing.insert(
            "address".to_owned(),
            "the processor does not tell it for this fault (SI_KERNEL)".to_owned(),
        );
    }
    cause
}

fn from_itself(facts: Facts<'_>, signal: u32, noted: &Noted) -> Cause {
    let name = signal_name(signal);
    let certain =
        |cause_type, summary: &str| Cause::new(cause_type, summary.to_owned(), Confidence::Certain);
    match signal {
        SIGABRT => certain(CauseType::Abort, "aborted itself (SIGABRT)")
            .because("it sent SIGABRT to itself, as abort(3) does: a failed assertion, a panic, a corrupted heap"),
        SIGPIPE if noted.note.no_info() => {
            certain(CauseType::Pipe, "wrote to a pipe or socket that nobody reads any more (SIGPIPE)")
                .because("the kernel sent SIGPIPE for its own write")
        }
        SIGXFSZ if noted.note.no_info() => {
            let limit = human::size(facts.exit.record.rlimit_fsize);
            let mut cause = Cause::new(
                CauseType::ResourceLimit,
                format!("wrote past its file size limit of {limit} (SIGXFSZ)"),
                Confidence::Certain,
            )
            .because(format!("the kernel sent SIGXFSZ for its own write; RLIMIT_FSIZE is {limit}"));
            cause.resource = Some("RLIMIT_FSIZE".to_owned());
            cause.limit_bytes = Some(facts.exit.record.rlimit_fsize);
            cause
        }
        _ => {
            let mut cause = Cause::new(
                CauseType::Killed,
                format!("sent {name} to itself"),
                Confidence::Certain,
            )
            .because("sender and target of the signal are the same process");
            cause.sender = Some(Box::new(noted.sender.clone()));
            cause
        }
    }
}

fn from_other(signal: u32, noted: &Noted) -> Cause {
    let name = signal_name(signal);
    let sender = &noted.sender;
    let who = who(sender);
    let mut cause = if let Some((daemon, confidence)) = daemon::recognise(sender) {
        let mut cause = Cause::new(
            CauseType::OomDaemon,
            format!("killed by {daemon} to free memory ({name} from {who})"),
            confidence,
        )
        .because(format!(
            "the sender runs {}",
            sender.exe.as_deref().unwrap_or("an unknown program")
        ));
        cause.daemon = Some(daemon.to_owned());
        if let Some(unit) = &sender.unit {
            cause = cause.because(format!("the sender's unit is {unit}"));
        }
        cause
    } else {
        Cause::new(CauseType::Killed, format!("killed by {name} from {who}"), Confidence::Certain)
            .because(format!("{name} was generated while {who} ran"))
    };
    if noted.note.no_info() && noted.note.sender_exiting() {
        cause.summary = format!("killed by {name} because its parent {who} ended");
        cause = cause.because(
            "sent while that process was ending: a parent-death signal (prctl PR_SET_PDEATHSIG)",
        );
    } else if noted.note.no_info()
        && noted.note.record.flags & NOTE_TO_THREAD != 0
        && signal == SIGKILL
    {
        cause = cause.because("sent through cgroup.kill");
    }
    cause.sender = Some(Box::new(sender.clone()));
    cause
}

/// A death by a signal that nobody was seen to send.
fn unannounced(facts: Facts<'_>, signal: u32) -> Cause {
    let name = signal_name(signal);
    let seccomp = facts.exit.record.seccomp;
    if signal == SIGKILL && facts.exit.record.oom_mm != 0 {
        return super::oom::death(facts);
    }
    if signal == SIGKILL && matches!(seccomp, SECCOMP_STRICT | SECCOMP_DEAD) {
        let confidence =
            if seccomp == SECCOMP_DEAD { Confidence::Certain } else { Confidence::Likely };
        return Cause::new(
            CauseType::Seccomp,
            "killed for a system call that strict seccomp forbids".to_owned(),
            confidence,
        )
        .because("ended by SIGKILL without a signal being sent, as strict seccomp does it")
        .because(format!("seccomp mode at its end: {seccomp}"));
    }
    if signal == SIGSYS && matches!(seccomp, SECCOMP_FILTER | SECCOMP_DEAD) {
        return Cause::new(
            CauseType::Seccomp,
            "killed for a system call that its seccomp filter forbids".to_owned(),
            Confidence::Likely,
        )
        .because("ended by SIGSYS without a signal being sent, as a filter that kills the thread does it")
        .because(format!("seccomp mode at its end: {seccomp}"));
    }
    Cause::new(
        CauseType::Unknown,
        format!("ended by {name}; who sent it was not seen"),
        Confidence::Possible,
    )
    .because("no such signal was seen on its way to this process: it was sent before the observer began, or its note was pushed out by newer ones")
}

/// How long a request to stop may lie back: systemd waits 90 s before it kills; a SIGHUP is often only a reload.
fn may_prompt(signal: u32, seconds: f64) -> bool {
    seconds <= if signal == SIGHUP { 10.0 } else { 100.0 }
}

/// Names the request to stop that came before.
fn prompt(facts: Facts<'_>, signal: u32, cause: &mut Cause) {
    let found = facts.notes.iter().find(|noted| {
        let record = &noted.note.record;
        matches!(record.signal, SIGHUP | SIGINT | SIGQUIT | 15)
            && record.signal != signal
            && noted.note.sender_id() != facts.exit.task.id()
            && !(signal == 0 && noted.note.ignored())
    });
    let Some(noted) = found else { return };
    // What counts for a killed process is the time before the fatal signal, which may be long before the end.
    let fatal = facts.notes.iter().find(|n| signal != 0 && n.note.record.signal == signal);
    let end = fatal.map_or(facts.exit.time_ns, |n| n.note.record.time_ns);
    if noted.note.record.time_ns > end {
        return;
    }
    let seconds = seconds_between(noted.note.record.time_ns, end);
    if !may_prompt(noted.note.record.signal, seconds) {
        return;
    }
    let name = signal_name(noted.note.record.signal);
    let by_kernel = matches!(noted.note.record.origin, ORIGIN_KERNEL | ORIGIN_TIMER);
    let from = if by_kernel { "the kernel".to_owned() } else { who(&noted.sender) };
    let ignored = if noted.note.ignored() { ", which it ignores" } else { "" };
    let before = human::span(seconds);
    cause.summary.push_str(&match signal {
        0 => format!(", {before} after {name} from {from}"),
        _ => format!(", {before} after {name}{ignored}"),
    });
    cause.evidence.push(format!("{name} from {from}{ignored}, {before} before"));
    cause.prompted_by = Some(Box::new(Prompt {
        signal: noted.note.record.signal,
        signal_name: name,
        sender: (!by_kernel).then(|| noted.sender.clone()),
        seconds,
        ignored: noted.note.ignored(),
    }));
}

/// `nginx 812 (nginx.service)`.
#[must_use]
pub fn who(process: &Process) -> String {
    let comm = process.comm.as_deref().unwrap_or("?");
    match process.unit.as_deref().or(process.container.as_deref()) {
        Some(place) => format!("{comm} {} ({place})", process.pid),
        None => format!("{comm} {}", process.pid),
    }
}

/// Seconds between two moments of `CLOCK_BOOTTIME`; 0 when they are the wrong way round.
#[must_use]
pub fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    std::time::Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64()
}

/// Whether a death waits for its OOM kill: the kernel sent SIGKILL, and nothing says yet what for.
#[must_use]
pub fn may_be_oom(exit: &Exit) -> bool {
    let kernel_kill = exit.notes.iter().any(|note| {
        note.record.signal == SIGKILL
            && note.record.origin == ORIGIN_KERNEL
            && (note.sender_id() != exit.task.id() || exit.record.oom_mm != 0)
            && !note.sender_is_namespace_init()
    });
    exit.record.status & 0x7f == SIGKILL
        && (kernel_kill || exit.record.oom_mm != 0 && exit.notes.is_empty())
}
