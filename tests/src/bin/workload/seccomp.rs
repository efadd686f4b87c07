//! System calls that the process has forbidden itself.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_MODE_FILTER,
    SECCOMP_MODE_STRICT, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD,
    sock_filter, sock_fprog,
};

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[("seccomp", seccomp)];

/// `seccomp strict|process|thread`: calls getppid(2) after forbidding it. Strict mode ends with SIGKILL without a
/// sender, a filter with SIGSYS (`KILL_THREAD` ends the process when it has one thread).
fn seccomp(mut args: Args) -> Outcome {
    match args.text("strict|process|thread")?.as_str() {
        "strict" => {
            // SAFETY: takes integers.
            let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, SECCOMP_MODE_STRICT) };
            sys::check("prctl", done)?;
        }
        "process" => deny_getppid(SECCOMP_RET_KILL_PROCESS)?,
        "thread" => deny_getppid(SECCOMP_RET_KILL_THREAD)?,
        other => return Err(format!("no such kind: {other}")),
    }
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_getppid) };
    Err("the forbidden call came back".to_owned())
}

fn deny_getppid(verdict: u32) -> Result<(), String> {
    let getppid = u32::try_from(libc::SYS_getppid).map_err(|why| why.to_string())?;
    // The number of the call is the first word of `struct seccomp_data`.
    let filter = [
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, getppid, 0, 1),
        step(BPF_RET | BPF_K, verdict, 0, 0),
        step(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0),
    ];
    let len = u16::try_from(filter.len()).map_err(|why| why.to_string())?;
    let program = sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program during the call.
    unsafe {
        sys::check("no_new_privs", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let installed = libc::prctl(libc::PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program);
        sys::check("seccomp", installed).map(drop)
    }
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // Every code of classic BPF fits 16 bits.
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}
