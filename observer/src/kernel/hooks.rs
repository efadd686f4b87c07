//! Every program of the eBPF object: what it is attached to, what it is for, and what is lost without it.

use aya::programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A tracepoint with typed arguments.
    TpBtf(&'static str),
    /// A tracepoint with plain arguments.
    RawTp(&'static str),
    /// Entry of a kernel function (a BPF trampoline).
    Fentry(&'static str),
    /// Return of a kernel function (a BPF trampoline).
    Fexit(&'static str),
}

impl std::fmt::Display for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TpBtf(name) => write!(f, "tp_btf/{name}"),
            Self::RawTp(name) => write!(f, "raw_tp/{name}"),
            Self::Fentry(name) => write!(f, "fentry/{name}"),
            Self::Fexit(name) => write!(f, "fexit/{name}"),
        }
    }
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name in the eBPF object.
    pub program: &'static str,
    /// Where it is attached.
    pub attach: Attach,
    /// What it is for.
    pub purpose: &'static str,
    /// What is lost without it.
    pub without: &'static str,
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
/// The second look at deaths on preemptible kernels.
pub const EXIT_AGAIN: Hook = Hook {
    program: "exit_again",
    attach: Attach::TpBtf("sched_process_exit"),
    purpose: "deaths that the first program was skipped for",
    without: "a death may be lost when a thread is preempted inside the first program; it is counted",
};
/// Who sent the signal.
pub const SIGNAL: Hook = Hook {
    program: "signal",
    attach: Attach::RawTp("signal_generate"),
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
/// Whose limit an OOM kill was for.
pub const OOM_BEGIN: Hook = Hook {
    program: "oom_begin",
    attach: Attach::Fentry("oom_kill_process"),
    purpose: "limit owner and scope of an OOM kill, from oom_control",
    without: "the limit owner is worked out from the cgroups' counters, the scope from the kernel stack",
};
/// Forgets what `OOM_BEGIN` kept.
pub const OOM_END: Hook = Hook {
    program: "oom_end",
    attach: Attach::Fexit("oom_kill_process"),
    purpose: "end of an OOM kill",
    without: "see oom_begin",
};

/// Loads and attaches one program; it stays attached as long as `ebpf` lives.
pub fn attach(ebpf: &mut Ebpf, btf: &Btf, hook: Hook) -> Result<(), ProgramError> {
    let Some(program) = ebpf.program_mut(hook.program) else {
        return Err(ProgramError::NotLoaded);
    };
    match (hook.attach, program) {
        (Attach::TpBtf(name), Program::BtfTracePoint(p)) => attach_tp_btf(p, name, btf),
        (Attach::RawTp(name), Program::RawTracePoint(p)) => attach_raw_tp(p, name),
        (Attach::Fentry(name), Program::FEntry(p)) => attach_fentry(p, name, btf),
        (Attach::Fexit(name), Program::FExit(p)) => attach_fexit(p, name, btf),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn attach_tp_btf(program: &mut BtfTracePoint, name: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(name, btf)?;
    program.attach().map(drop)
}

fn attach_raw_tp(program: &mut RawTracePoint, name: &str) -> Result<(), ProgramError> {
    program.load()?;
    program.attach(name).map(drop)
}

fn attach_fentry(program: &mut FEntry, name: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(name, btf)?;
    program.attach().map(drop)
}

fn attach_fexit(program: &mut FExit, name: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(name, btf)?;
    program.attach().map(drop)
}
