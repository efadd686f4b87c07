//! The table of eBPF programs: where each attaches, what it is for, and what is missing without it.

use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A tracepoint with typed arguments.
    TpBtf(&'static str),
    /// Entry of a kernel function (a BPF trampoline).
    Fentry(&'static str),
    /// Return of a kernel function (a BPF trampoline).
    Fexit(&'static str),
    /// A system call's tracepoint: while it is on, every system call of every task takes the slow path.
    Syscall(&'static str),
}

impl Attach {
    /// Whether it needs a BPF trampoline, which some kernels refuse.
    #[must_use]
    pub const fn is_trampoline(self) -> bool {
        matches!(self, Self::Fentry(_) | Self::Fexit(_))
    }
}

impl std::fmt::Display for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TpBtf(name) => write!(f, "tp_btf/{name}"),
            Self::Fentry(name) => write!(f, "fentry/{name}"),
            Self::Fexit(name) => write!(f, "fexit/{name}"),
            Self::Syscall(name) => write!(f, "tp/syscalls:{name}"),
        }
    }
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name in the eBPF object.
    pub program: &'static str,
    /// Where it attaches.
    pub attach: Attach,
    /// What it is for.
    pub purpose: &'static str,
    /// What is missing without it.
    pub without: &'static str,
}

impl Hook {
    /// Kind of the event that is missing when the kernel skips the program; `None` if an event only has fewer keys.
    #[must_use]
    pub fn loses(&self) -> Option<&'static str> {
        let program = self.program;
        match program {
            "exit" | "exit_early" | "exit_again" | "exit_third" => Some("exit"),
            "signal" => Some("signal"),
            "oom" | "oom_by_pid" => Some("oom"),
            LISTEN_STOP | "listen_end" => Some("release"),
            _ if program.starts_with("bind_") => Some("bind"),
            _ if program.starts_with("listen_") => Some("listen"),
            _ => None,
        }
    }
}

/// Deaths on Linux 6.16 and later; after exit_mm on earlier kernels.
pub const EXIT: Hook = Hook {
    program: "exit",
    attach: Attach::TpBtf("sched_process_exit"),
    purpose: "deaths",
    without: "no deaths are seen",
};
/// Deaths before Linux 6.16, where function tracing works.
pub const EXIT_EARLY: Hook = Hook {
    program: "exit_early",
    attach: Attach::Fentry("taskstats_exit"),
    purpose: "deaths",
    without: "arguments, executable and peak memory of a dead process are missing before Linux 6.16",
};
/// The second exit program on preemptible kernels: reports deaths that the first was skipped for.
pub const EXIT_AGAIN: Hook = Hook {
    program: "exit_again",
    attach: Attach::TpBtf("sched_process_exit"),
    purpose: "deaths that the first program was skipped for",
    without: "a death may be lost when a thread is preempted inside the first program; it is counted",
};
/// The third exit program.
pub const EXIT_THIRD: Hook = Hook {
    program: "exit_third",
    attach: Attach::TpBtf("sched_process_exit"),
    purpose: "deaths that the first two programs were skipped for",
    without: "a death may be lost when threads are preempted inside the first two programs; it is counted",
};
/// Who sent the signal.
pub const SIGNAL: Hook = Hook {
    program: "signal",
    attach: Attach::TpBtf("signal_generate"),
    purpose: "senders of signals, faults",
    without: "no sender, no fault address: deaths by a signal have the cause unknown",
};
/// OOM kills.
pub const OOM: Hook = Hook {
    program: "oom",
    attach: Attach::TpBtf("mark_victim"),
    purpose: "OOM kills",
    without: "no oom events; a death by the OOM killer is still recognised by the mark on the process",
};
/// OOM kills on kernels whose mark_victim passes a process id instead of a task.
pub const OOM_BY_PID: Hook = Hook {
    program: "oom_by_pid",
    attach: Attach::TpBtf("mark_victim"),
    purpose: "OOM kills, of the chosen process only",
    without: "no oom events; a death by the OOM killer is still recognised by the mark on the process",
};
/// The limit that an OOM kill was for.
pub const OOM_BEGIN: Hook = Hook {
    program: "oom_begin",
    attach: Attach::Fentry("oom_kill_process"),
    purpose: "limit owner and scope of an OOM kill, from oom_control",
    without: "the limit owner is worked out from the cgroups' counters, the scope from the kernel stack",
};
/// Removes what `OOM_BEGIN` kept.
pub const OOM_END: Hook = Hook {
    program: "oom_end",
    attach: Attach::Fexit("oom_kill_process"),
    purpose: "end of an OOM kill",
    without: "see oom_begin",
};

/// Reports the end of a listener, where BPF trampolines work.
const LISTEN_STOP: &str = "listen_stop";
/// Reports the end of a listener, where they don't.
pub const LISTEN_END: Hook = Hook {
    program: "listen_end",
    attach: Attach::TpBtf("tcp_destroy_sock"),
    purpose: "end of a listening socket",
    without: SCANS,
};
/// Whether the attached programs report both the start and the end of a server; otherwise scans have to find them.
pub fn tell_servers(attached: impl Fn(&str) -> bool) -> bool {
    let begin = attached(BINDS[0].program) || BIND_CALLS.iter().all(|hook| attached(hook.program));
    begin && (attached(LISTEN_STOP) || attached(LISTEN_END.program))
}

const SCANS: &str =
    "a port that a living process closed is found by a scan once a second, if scans are cheap";

/// Refused binds and listens, new servers and the ends of listeners, where BPF trampolines work: if the first one attaches,
/// they do.
pub const BINDS: [Hook; 8] = [
    bind("bind_inet", Attach::Fexit("inet_bind")),
    bind("bind_inet6", Attach::Fexit("inet6_bind")),
    bind("bind_unix", Attach::Fexit("unix_bind")),
    bind("bind_mptcp", Attach::Fexit("mptcp_bind")),
    bind("listen_inet", Attach::Fexit("inet_listen")),
    bind("listen_unix", Attach::Fexit("unix_listen")),
    bind("listen_mptcp", Attach::Fexit("mptcp_listen")),
    Hook {
        program: LISTEN_STOP,
        attach: Attach::Fentry("inet_csk_listen_stop"),
        purpose: "end of a listening socket",
        without: SCANS,
    },
];

const fn bind(program: &'static str, attach: Attach) -> Hook {
    Hook {
        program,
        attach,
        purpose: "refused binds and listens, new servers",
        without: "such calls are not seen through this function",
    }
}

/// Refused binds and listens and new servers, where trampolines don't work.
pub const BIND_CALLS: [Hook; 2] =
    [call("bind_exit", "sys_exit_bind"), call("listen_exit", "sys_exit_listen")];

const fn call(program: &'static str, name: &'static str) -> Hook {
    Hook {
        program,
        attach: Attach::Syscall(name),
        purpose: "refused binds and listens, new servers, at about 30 ns for every system call on the machine",
        without: "refused binds and listens are not seen at all",
    }
}

/// Loads and attaches one program; it stays attached as long as `ebpf` lives.
pub fn attach(ebpf: &mut Ebpf, btf: &Btf, hook: Hook) -> Result<(), ProgramError> {
    let Some(program) = ebpf.program_mut(hook.program) else {
        return Err(ProgramError::NotLoaded);
    };
    match (hook.attach, program) {
        (Attach::TpBtf(name), Program::BtfTracePoint(p)) => {
            p.load(name, btf)?;
            p.attach().map(drop)
        }
        (Attach::Fentry(name), Program::FEntry(p)) => {
            p.load(name, btf)?;
            p.attach().map(drop)
        }
        (Attach::Fexit(name), Program::FExit(p)) => {
            p.load(name, btf)?;
            p.attach().map(drop)
        }
        (Attach::Syscall(name), Program::TracePoint(p)) => {
            p.load()?;
            p.attach("syscalls", name).map(drop)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_program_loses_its_kind() {
        let lost = |hooks: &[Hook]| hooks.iter().map(Hook::loses).collect::<Vec<_>>();
        assert_eq!(lost(&[EXIT, EXIT_EARLY, EXIT_AGAIN, EXIT_THIRD]), [Some("exit"); 4]);
        assert_eq!(lost(&[SIGNAL, OOM, OOM_BY_PID]), [Some("signal"), Some("oom"), Some("oom")]);
        assert_eq!(lost(&[OOM_BEGIN, OOM_END]), [None; 2]);
        assert_eq!(lost(&BINDS[..4]), [Some("bind"); 4]);
        assert_eq!(lost(&BINDS[4..7]), [Some("listen"); 3]);
        assert_eq!(lost(&[BINDS[7], LISTEN_END]), [Some("release"); 2]);
        assert_eq!(lost(&BIND_CALLS), [Some("bind"), Some("listen")]);
    }

    #[test]
    fn scans_are_needed_unless_programs_report_start_and_end() {
        let reported = |attached: &[&str]| tell_servers(|program| attached.contains(&program));
        assert!(reported(&["bind_inet", "listen_stop"]));
        assert!(reported(&["bind_exit", "listen_exit", "listen_end"]));
        // Linux 5.10 without function tracing: only the end.
        assert!(!reported(&["listen_end"]));
        assert!(!reported(&["bind_inet"]));
    }
}
