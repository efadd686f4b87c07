//! Waiting for signals, sending them, and requesting them from the kernel.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, pid_t};

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("wait", wait),
    ("handle-term", handle_term),
    ("ignore-term", ignore_term),
    ("send", send),
    ("kill-cgroup", kill_cgroup),
    ("alarm", alarm),
    ("parent-death", parent_death),
];

/// `wait`: says `ready=1` and waits.
fn wait(_args: Args) -> Outcome {
    sys::say("ready", 1);
    sys::pause_for_good()
}

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// `handle-term CODE [MS]`: handles SIGTERM: exits with CODE after MS milliseconds.
fn handle_term(mut args: Args) -> Outcome {
    let code = args.number("CODE")?;
    let tidying_ms = args.number_or(0);
    // Blocked except inside sigsuspend, or a signal between the look and the wait would be slept
    // through.
    let open_mask = sys::block(libc::SIGTERM);
    sys::disposition(libc::SIGTERM, note as *const () as libc::sighandler_t);
    sys::say("ready", 1);
    while !ASKED.load(Ordering::Relaxed) {
        // SAFETY: the mask was filled by the kernel.
        unsafe { libc::sigsuspend(&raw const open_mask) };
    }
    sys::sleep_ms(tidying_ms);
    sys::leave(code)
}

/// `ignore-term ignored|blocked`: only SIGKILL ends it.
fn ignore_term(mut args: Args) -> Outcome {
    match args.text("ignored|blocked")?.as_str() {
        "ignored" => sys::disposition(libc::SIGTERM, libc::SIG_IGN),
        "blocked" => drop(sys::block(libc::SIGTERM)),
        other => return Err(format!("neither ignored nor blocked: {other}")),
    }
    wait(args)
}

/// `send kill|group|tgkill|sigqueue|pidfd SIGNAL PID`: sends SIGNAL by that system call.
fn send(mut args: Args) -> Outcome {
    let method = args.text("METHOD")?;
    let signal: c_int = args.number("SIGNAL")?;
    let pid: pid_t = args.number("PID")?;
    // SAFETY: integers, and a value that nobody reads.
    let result = unsafe {
        match method.as_str() {
            "kill" => libc::kill(pid, signal),
            "group" => libc::kill(-pid, signal),
            "tgkill" => call(libc::syscall(libc::SYS_tgkill, pid, pid, signal)),
            "sigqueue" => {
                libc::sigqueue(pid, signal, libc::sigval { sival_ptr: std::ptr::null_mut() })
            }
            "pidfd" => {
                let fd =
                    sys::check("pidfd_open", call(libc::syscall(libc::SYS_pidfd_open, pid, 0)))?;
                call(libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, 0, 0))
            }
            other => return Err(format!("no such method: {other}")),
        }
    };
    sys::check(&method, result).map(|_| 0)
}

/// The result of `syscall` as the narrower type that these calls return.
fn call(result: libc::c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

/// `kill-cgroup DIR`: writes to its `cgroup.kill`.
fn kill_cgroup(mut args: Args) -> Outcome {
    let mut path = args.os("DIR")?.into_vec();
    path.extend_from_slice(b"/cgroup.kill");
    let path = CString::new(path).map_err(|why| why.to_string())?;
    // SAFETY: a C string and one byte of a literal.
    unsafe {
        let fd = sys::check("open", libc::open(path.as_ptr(), libc::O_WRONLY))?;
        let written = libc::write(fd, c"1".as_ptr().cast(), 1);
        sys::check("write", call(written as libc::c_long)).map(|_| 0)
    }
}

/// `alarm MS`: SIGALRM from its own timer.
fn alarm(mut args: Args) -> Outcome {
    let ms: i64 = args.number("MS")?;
    let once = libc::timeval { tv_sec: ms / 1000, tv_usec: ms % 1000 * 1000 };
    let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer = libc::itimerval { it_interval: never, it_value: once };
    // SAFETY: `timer` outlives the call; nobody asks for the old one.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    sys::check("setitimer", set)?;
    sys::pause_for_good()
}

/// `parent-death SIGNAL`: a child requests SIGNAL for the end of its parent, and the parent exits.
fn parent_death(mut args: Args) -> Outcome {
    let signal = args.number("SIGNAL")?;
    let (reader, writer) = std::io::pipe().map_err(|why| why.to_string())?;
    let child = sys::fork(|| {
        sys::die_with_parent(signal);
        let _ = std::io::Write::write_all(&mut &writer, b"x");
        sys::pause_for_good()
    })?;
    sys::say_pid("child_pid", child);
    let ready = std::io::Read::read_exact(&mut &reader, &mut [0]);
    ready.map(|()| 0).map_err(|why| why.to_string())
}
