//! Names of signals and of `si_code`s, uapi/asm-generic/signal.h and siginfo.h.

use std::borrow::Cow;

/// `SIGKILL` for 9.
#[must_use]
pub fn signal_name(signal: u32) -> Cow<'static, str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let index = (signal as usize).wrapping_sub(1);
    match (NAMES.get(index), signal) {
        (Some(name), _) => (*name).into(),
        // glibc uses 32 and 33 itself, so its SIGRTMIN is 34.
        (None, 34) => "SIGRTMIN".into(),
        (None, 35..=64) => format!("SIGRTMIN+{}", signal - 34).into(),
        _ => format!("signal {signal}").into(),
    }
}

/// `SEGV_MAPERR` for (SIGSEGV, 1); `None` for a code without a name.
#[must_use]
pub fn fault_code_name(signal: u32, code: i32) -> Option<&'static str> {
    const SI_KERNEL: i32 = 0x80;
    if code == SI_KERNEL {
        return Some("SI_KERNEL");
    }
    let names: &[&str] = match signal {
        4 => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
            "ILL_BADIADDR",
        ],
        5 => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT", "TRAP_UNK", "TRAP_PERF"],
        7 => &["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"],
        8 => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        11 => &[
            "SEGV_MAPERR",
            "SEGV_ACCERR",
            "SEGV_BNDERR",
            "SEGV_PKUERR",
            "SEGV_ACCADI",
            "SEGV_ADIDERR",
            "SEGV_ADIPERR",
            "SEGV_MTEAERR",
            "SEGV_MTESERR",
            "SEGV_CPERR",
        ],
        31 => &["SYS_SECCOMP", "SYS_USER_DISPATCH"],
        _ => &[],
    };
    names.get(usize::try_from(code).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::{fault_code_name, signal_name};

    #[test]
    fn names() {
        assert_eq!(signal_name(1), "SIGHUP");
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(31), "SIGSYS");
        assert_eq!(signal_name(34), "SIGRTMIN");
        assert_eq!(signal_name(64), "SIGRTMIN+30");
        assert_eq!(fault_code_name(11, 1), Some("SEGV_MAPERR"));
        assert_eq!(fault_code_name(11, 0x80), Some("SI_KERNEL"));
        assert_eq!(fault_code_name(11, -6), None);
    }
}
