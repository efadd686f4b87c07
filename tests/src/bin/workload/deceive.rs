//! Senders that are not what they were, signals that are not delivered, and signals that nobody sent.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;

use libc::{c_int, pid_t};

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("send-then-change", send_then_change),
    ("send-then-exec", send_then_exec),
    ("handle-then-end", handle_then_end),
    ("trace", trace),
    ("watch-queue", watch_queue),
    ("message", message),
    ("watch-pipe", watch_pipe),
];

/// `send-then-change UID NAME PID`: sends SIGTERM, becomes user UID with another comm, and sends SIGKILL.
fn send_then_change(mut args: Args) -> Outcome {
    let uid = args.number("UID")?;
    let name = CString::new(args.text("NAME")?).map_err(|why| why.to_string())?;
    let pid: pid_t = args.number("PID")?;
    sys::kill(pid, libc::SIGTERM)?;
    // SAFETY: integers and a C string.
    unsafe {
        sys::check("setuid", libc::setuid(uid))?;
        sys::check("prctl", libc::prctl(libc::PR_SET_NAME, name.as_ptr()))?;
    }
    sys::kill(pid, libc::SIGKILL).map(|()| 0)
}

/// `send-then-exec PID PROGRAM WORD…`: sends SIGTERM and executes another program.
fn send_then_exec(mut args: Args) -> Outcome {
    sys::kill(args.number("PID")?, libc::SIGTERM)?;
    let mut program = std::process::Command::new(args.os("PROGRAM")?);
    while let Ok(word) = args.os("") {
        program.arg(word);
    }
    Err(program.exec().to_string())
}

extern "C" fn end_by_it(signal: c_int) {
    // SAFETY: all of them may be called in a handler.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
    }
}

/// `handle-then-end`: handles SIGTERM, and then ends by its own SIGTERM, as many servers do.
fn handle_then_end(_args: Args) -> Outcome {
    sys::disposition(libc::SIGTERM, end_by_it as *const () as libc::sighandler_t);
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `trace PID`: traces PID, keeps a SIGTERM back that others send, and gives it one of its own in place of its SIGUSR1.
fn trace(mut args: Args) -> Outcome {
    let pid: pid_t = args.number("PID")?;
    let request = |what, signal: c_int| {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: requests that take integers only.
        let result = unsafe { libc::ptrace(what, pid, none, libc::c_long::from(signal)) };
        sys::check("ptrace", c_int::try_from(result).unwrap_or(-1))
    };
    request(libc::PTRACE_SEIZE, 0)?;
    sys::say("ready", 1);
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        sys::check("waitpid", unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
        if !libc::WIFSTOPPED(status) {
            return Ok(0);
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTERM => {
                request(libc::PTRACE_CONT, 0)?;
                sys::kill(pid, libc::SIGUSR1)?;
            }
            libc::SIGUSR1 => drop(request(libc::PTRACE_CONT, libc::SIGTERM)?),
            other => drop(request(libc::PTRACE_CONT, other)?),
        }
    }
}

fn queue(args: &mut Args, flags: c_int) -> Result<(CString, libc::mqd_t), String> {
    let name = CString::new(args.text("NAME")?).map_err(|why| why.to_string())?;
    // SAFETY: a C string; the kernel's own attributes.
    let queue = unsafe {
        libc::mq_open(name.as_ptr(), flags, 0o600, std::ptr::null_mut::<libc::mq_attr>())
    };
    sys::check("mq_open", queue).map(|queue| (name, queue))
}

/// `watch-queue NAME`: wants SIGKILL for the first message in a queue of that name.
fn watch_queue(mut args: Args) -> Outcome {
    let (_, queue) = queue(&mut args, libc::O_RDONLY | libc::O_CREAT)?;
    // SAFETY: zeros are a valid sigevent, and it outlives the call.
    let asked = unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        libc::mq_notify(queue, &raw const event)
    };
    sys::check("mq_notify", asked)?;
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `message NAME`: sends a message to that queue, and removes it.
fn message(mut args: Args) -> Outcome {
    let (name, queue) = queue(&mut args, libc::O_WRONLY)?;
    // SAFETY: one byte of a literal, and a C string.
    unsafe {
        sys::check("mq_send", libc::mq_send(queue, c"x".as_ptr(), 1, 0))?;
        sys::check("mq_unlink", libc::mq_unlink(name.as_ptr())).map(|_| 0)
    }
}

/// `watch-pipe`: wants SIGKILL for I/O on a pipe; a child writes to it.
fn watch_pipe(_args: Args) -> Outcome {
    let (reader, writer) = std::io::pipe().map_err(|why| why.to_string())?;
    let fd = reader.as_raw_fd();
    // SAFETY: takes integers.
    unsafe {
        sys::check("F_SETOWN", libc::fcntl(fd, libc::F_SETOWN, sys::own_pid()))?;
        sys::check("F_SETSIG", libc::fcntl(fd, F_SETSIG, libc::SIGKILL))?;
        sys::check("F_SETFL", libc::fcntl(fd, libc::F_SETFL, libc::O_ASYNC))?;
    }
    let (wait, go) = std::io::pipe().map_err(|why| why.to_string())?;
    let child = sys::fork(|| {
        // What the child writes ends the parent, which has to name it before.
        let _ = std::io::Read::read_exact(&mut &wait, &mut [0]);
        let _ = std::io::Write::write_all(&mut &writer, b"x");
        0
    })?;
    sys::say_pid("child_pid", child);
    std::io::Write::write_all(&mut &go, b"x").map_err(|why| why.to_string())?;
    sys::pause_for_good()
}

/// uapi/asm-generic/fcntl.h; not in the libc crate for every target.
const F_SETSIG: c_int = 10;
