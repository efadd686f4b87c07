//! The status of an `exit`, from a wait status.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::{Value, json};

/// The `status` that the `exit` of a process with this wait status must have.
pub fn expected_status(status: ExitStatus) -> Value {
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            json!({"code": code, "shell_status": code, "signal": null, "signal_name": null})
        }
        (None, Some(signal)) => json!({
            "code": null,
            "signal": signal,
            "signal_name": signal_name(signal),
            "core_dumped": status.core_dumped(),
            "shell_status": 128 + signal,
        }),
        (None, None) => panic!("neither a code nor a signal: {status}"),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => panic!("no test sends {other}"),
    }
}
