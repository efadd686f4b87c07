//! A death by a signal whose generation was seen.

use observer_common::signal::{ORIGIN_FAULT, ORIGIN_KERNEL, ORIGIN_TIMER};

use super::{
    Facts, Noted, SIGABRT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSYS, SIGXCPU, SIGXFSZ,
    seccomp_mode,
};
use crate::{
    diagnose::{daemon, oom},
    model::{
        Cause, CauseType, Confidence, fault_code_name,
        human::{self, who},
        signal_name,
    },
};

const SIGALRM: u32 = 14;
const SIGVTALRM: u32 = 26;
const SIGPROF: u32 = 27;
const SIGIO: u32 = 29;
const SYS_SECCOMP: i32 = 1;
const SI_TIMER: i32 = -2;
const SI_MESGQ: i32 = -3;
const SI_ASYNCIO: i32 = -4;
const SI_SIGIO: i32 = -5;

pub(super) fn signalled(facts: Facts<'_>, signal: u32, noted: &Noted) -> Cause {
    let own = noted.note.sender_id() == facts.exit.task.id();
    let cause = match noted.note.record.origin {
        ORIGIN_KERNEL => from_kernel(facts, signal, noted, own),
        ORIGIN_TIMER => timer_or_io(signal, noted),
        ORIGIN_FAULT => fault(facts, signal, noted),
        _ if own => from_itself(facts, signal, noted),
        _ => from_other(signal, noted),
    };
    perhaps_another(facts, signal, noted, cause)
}

/// That a signal was generated does not say that it was delivered: a tracer sees it first, and may keep it back and give the
/// process another one (ptrace_signal, kernel/signal.c), of which no tracepoint tells; and a handler lets the process live on.
fn perhaps_another(facts: Facts<'_>, signal: u32, noted: &Noted, mut cause: Cause) -> Cause {
    if signal == SIGKILL {
        return cause;
    }
    let name = signal_name(signal);
    if noted.note.traced() || facts.exit.task.traced() {
        cause = cause.because(format!(
            "it was being traced: the tracer may have kept that {name} back, and sent another"
        ));
    } else if noted.note.handled() {
        cause = cause.because(format!(
            "it had a handler for {name} then: it may have handled that one, and died of another that was not seen"
        ));
    } else {
        return cause;
    }
    if cause.confidence == Confidence::Certain {
        cause.confidence = Confidence::Likely;
    }
    cause
}

fn from_kernel(facts: Facts<'_>, signal: u32, noted: &Noted, own: bool) -> Cause {
    let name = signal_name(signal);
    if signal == SIGKILL && (facts.oom.is_some() || facts.exit.record.oom_mm != 0) {
        return oom::death(facts);
    }
    if signal == SIGKILL && noted.note.sender_is_namespace_init() && noted.note.sender_exiting() {
        let init = noted.note.record.sender.tgid;
        return kernel(
            format!("killed because process {init}, pid 1 of its pid namespace, ended"),
            Confidence::Certain,
        )
        .because("the kernel sent SIGKILL while that process was ending (zap_pid_ns_processes)");
    }
    let hard = facts.exit.record.rlimit_cpu_hard;
    if signal == SIGKILL && own && hard != u64::MAX {
        return limit(
            "RLIMIT_CPU",
            format!("killed at its hard CPU limit of {hard} s"),
            Confidence::Likely,
        )
        .because(format!(
            "the kernel sent SIGKILL while the process itself ran; its hard RLIMIT_CPU is {hard} s"
        ));
    }
    match signal {
        SIGXCPU => {
            // With each SIGXCPU the kernel raises the soft limit by a second (check_process_timers).
            let used = facts.exit.record.rlimit_cpu_soft.saturating_sub(1);
            limit(
                "RLIMIT_CPU",
                format!("killed by SIGXCPU at its CPU limit of {used} s"),
                Confidence::Certain,
            )
            .because(format!("the kernel sent SIGXCPU after {used} s of CPU time"))
        }
        SIGALRM | SIGVTALRM | SIGPROF => {
            kernel(format!("killed by {name} from its own timer (no handler)"), Confidence::Certain)
                .because(format!("the kernel sent {name}; no process did"))
        }
        SIGHUP => hangup(noted),
        SIGINT | SIGQUIT => {
            kernel(format!("killed by {name} from its terminal's keyboard"), Confidence::Likely)
                .because(format!("the kernel sent {name}, not a process"))
        }
        SIGKILL => kernel("killed by the kernel itself".to_owned(), Confidence::Certain)
            .because("SIGKILL came from no process (SEND_SIG_PRIV), and no OOM kill was under way"),
        _ => kernel(format!("killed by {name} from the kernel itself"), Confidence::Certain)
            .because(format!("{name} came from no process (SEND_SIG_PRIV)")),
    }
}

/// A terminal that hangs up, a session's leader that ends, or a stopped process group that nobody could continue.
fn hangup(noted: &Noted) -> Cause {
    if noted.note.sender_exiting() {
        let who = who(&noted.sender);
        return kernel(
            format!("killed by SIGHUP when {who} ended: its session or terminal was gone"),
            Confidence::Likely,
        )
        .because(format!("the kernel sent SIGHUP while {who} was ending"));
    }
    kernel("killed by SIGHUP: its terminal was closed".to_owned(), Confidence::Likely)
        .because("the kernel sent SIGHUP, not a process")
}

/// What a process asked the kernel to signal: a timer, a message queue (mq_notify), finished I/O (SIGEV_SIGNAL, F_SETSIG).
/// Whoever ran at the time sent a message, wrote to a pipe or was interrupted: a bystander. A code below 0 can be forged with
/// rt_sigqueueinfo(2), one above 0 can't.
fn timer_or_io(signal: u32, noted: &Noted) -> Cause {
    let name = signal_name(signal);
    let code = noted.note.record.code;
    let (what, code_name) = match code {
        SI_TIMER => ("its own timer", "SI_TIMER"),
        SI_MESGQ => ("a message queue that it watches (mq_notify)", "SI_MESGQ"),
        SI_ASYNCIO => ("its own I/O", "SI_ASYNCIO"),
        SI_SIGIO => ("its own I/O", "SI_SIGIO"),
        _ => ("a file or socket that it watches (fcntl F_SETSIG)", ""),
    };
    let cause = kernel(format!("killed by {name} from {what} (no handler)"), Confidence::Likely);
    if code > 0 {
        return cause
            .because(format!("{name} came with si_code {code}, which only the kernel sets"));
    }
    let ran = who(&noted.sender);
    cause.because(format!(
        "{name} came with {code_name}, as from the kernel while {ran} ran; a process could forge that"
    ))
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
        .because(seccomp_mode(facts.exit.record.seccomp));
        cause.code_name = Some("SYS_SECCOMP".to_owned());
        return cause;
    }
    if !matches!(signal, 4 | 5 | 7 | 8 | 11) {
        let what = if signal == SIGIO { " for its own I/O, without a handler" } else { "" };
        return kernel(
            format!("killed by {name} from the kernel{what} ({code})"),
            Confidence::Certain,
        )
        .because(format!("si_code {}, which only the kernel uses", record.code));
    }
    let known = code_name != Some("SI_KERNEL");
    let what = match (signal, code_name, record.address) {
        (11, Some("SEGV_MAPERR"), 0..4096) => "dereferenced a null pointer",
        (11, Some("SEGV_MAPERR"), _) => "accessed an unmapped address",
        (11, Some("SEGV_ACCERR"), _) => "accessed memory against its protection",
        (11, Some("SI_KERNEL"), _) => {
            "used a non-canonical address, or did what only the kernel may do"
        }
        (7, Some("BUS_ADRERR"), _) => "accessed a mapped file past its end",
        (7, Some("BUS_MCEERR_AR" | "BUS_MCEERR_AO"), _) => "hit a hardware memory error",
        (8, Some("FPE_INTDIV"), _) => "divided by zero",
        (8, ..) => "hit an arithmetic error",
        (4, ..) => "executed an illegal instruction",
        (5, ..) => "hit a breakpoint or a trap",
        _ => "caused a processor exception",
    };
    let at = if known { format!(" at {:#x}", record.address) } else { String::new() };
    let mut cause =
        Cause::new(CauseType::Fault, format!("{what}: {name}, {code}{at}"), Confidence::Certain)
            .because(format!("the kernel sent {name} with {code} for what the process itself did"));
    if matches!(code_name, Some("SI_KERNEL" | "TRAP_BRKPT" | "ILL_ILLOPN")) && signal != 11 {
        // int3 and ud2: `__builtin_trap`, V8's IMMEDIATE_CRASH.
        let remedy = "read its last output: programs abort like this on purpose, as V8 (node) does when it gets no memory";
        cause.remedy = Some(remedy.to_owned());
    }
    cause.code_name = Some(code);
    if known {
        cause.address = Some(format!("{:#x}", record.address));
    } else {
        let why = "the processor reports no address for this fault (SI_KERNEL)";
        cause.missing.insert("address".into(), why.into());
    }
    cause
}

fn from_itself(facts: Facts<'_>, signal: u32, noted: &Noted) -> Cause {
    let name = signal_name(signal);
    let certain =
        |cause_type, summary: &str| Cause::new(cause_type, summary.to_owned(), Confidence::Certain);
    // send_sig(signal, current, 0): from Linux 7 on kill(2) comes without a siginfo too, but not to one thread.
    let for_its_own_write = noted.note.no_info() && noted.note.to_thread();
    match signal {
        SIGABRT => certain(CauseType::Abort, "aborted itself (SIGABRT)")
            .because("it sent SIGABRT to itself, as abort(3) does: a failed assertion, a panic, a corrupted heap"),
        SIGPIPE if for_its_own_write => {
            certain(CauseType::Pipe, "wrote to a broken pipe or socket (SIGPIPE)")
                .because("the kernel sent SIGPIPE for its own write")
        }
        SIGXFSZ if for_its_own_write => {
            let size = human::size(facts.exit.record.rlimit_fsize);
            let mut cause = limit(
                "RLIMIT_FSIZE",
                format!("wrote past its file size limit of {size} (SIGXFSZ)"),
                Confidence::Certain,
            )
            .because(format!("the kernel sent SIGXFSZ for its own write; RLIMIT_FSIZE is {size}"));
            cause.limit_bytes = Some(facts.exit.record.rlimit_fsize);
            cause
        }
        _ => {
            let mut cause = certain(CauseType::Killed, &format!("sent {name} to itself"))
                .because("sender and target of the signal are the same process");
            if by_cgroup_kill(signal, noted) {
                cause = cause.because("sent through cgroup.kill");
            }
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
        cause.summary = format!("killed by {name} because its parent {who} ended").into();
        cause = cause.because(
            "sent while that process was ending: a parent-death signal (prctl PR_SET_PDEATHSIG)",
        );
    } else if by_cgroup_kill(signal, noted) {
        cause = cause.because("sent through cgroup.kill");
    }
    cause.sender = Some(Box::new(sender.clone()));
    cause
}

/// `cgroup_kill` (kernel/cgroup/cgroup.c) sends SIGKILL without a siginfo to one thread of each process.
fn by_cgroup_kill(signal: u32, noted: &Noted) -> bool {
    signal == SIGKILL && noted.note.no_info() && noted.note.to_thread()
}

fn kernel(summary: String, confidence: Confidence) -> Cause {
    Cause::new(CauseType::Kernel, summary, confidence)
}

fn limit(resource: &str, summary: String, confidence: Confidence) -> Cause {
    let mut cause = Cause::new(CauseType::ResourceLimit, summary, confidence);
    let (option, setting) = match resource {
        "RLIMIT_CPU" => ('t', "LimitCPU="),
        _ => ('f', "LimitFSIZE="),
    };
    cause.remedy = Some(format!("{setting} of its unit or `ulimit -{option}` sets the limit"));
    cause.resource = Some(resource.to_owned());
    cause
}
