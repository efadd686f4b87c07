//! Processes with children.

use std::collections::VecDeque;
use std::ffi::c_void;

use libc::{c_int, pid_t};

use crate::args::Args;
use crate::{Command, Outcome, WRONG_USAGE, run, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("vfork", vfork),
    ("storm", storm),
    ("storm-killed", storm_killed),
    ("shell", shell),
    ("leave-child", leave_child),
    ("unreaped", unreaped),
    ("with-zombie", with_zombie),
    ("same-pid", same_pid),
];

/// How many children live at a time: enough for two processors, far below any process limit.
const AT_ONCE: usize = 64;

/// `vfork N CODE`: N children in turn, which share the parent's memory (CLONE_VM and CLONE_VFORK).
fn vfork(mut args: Args) -> Outcome {
    let number: usize = args.number("N")?;
    let code: c_int = args.number("CODE")?;
    for _ in 0..number {
        let child = vfork_child(code)?;
        sys::say_pid("child_pid", child);
        sys::reap(child)?;
    }
    Ok(0)
}

/// Rust code cannot call vfork(2), which returns twice on one stack: clone(2) with the same flags and a stack for the
/// child.
fn vfork_child(code: c_int) -> Result<pid_t, String> {
    extern "C" fn leave_with(code: *mut c_void) -> c_int {
        // SAFETY: `code` points to the parent's variable, and the parent is asleep.
        sys::leave(unsafe { *code.cast::<c_int>() })
    }
    let mut stack = vec![0_u128; 4096];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end.cast();
    // SAFETY: the stack outlives the child, for the parent sleeps until the child is gone.
    let child = unsafe { libc::clone(leave_with, top, flags, (&raw const code).cast_mut().cast()) };
    sys::check("clone", child)
}

/// `storm N CODE [pids|named]`: N children exit with CODE at once, all are reaped. Says `total` and, if asked, each
/// `child_pid`. `named`: each under another name, so that no death is like another.
fn storm(mut args: Args) -> Outcome {
    let number: usize = args.number("N")?;
    let code: c_int = args.number("CODE")?;
    let how = args.text("").unwrap_or_default();
    let (list, named) = (how == "pids", how == "named");
    let mut alive = VecDeque::with_capacity(AT_ONCE);
    let mut reaped = 0;
    for made in 0..number {
        if alive.len() == AT_ONCE {
            reaped += reap_first(&mut alive)?;
        }
        let child = sys::fork(|| {
            let name = format!("storm{made}\0");
            // SAFETY: it ends with a NUL; the kernel takes its first 15 bytes.
            if named && unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } != 0 {
                return WRONG_USAGE.into();
            }
            code
        })?;
        if list {
            sys::say_pid("child_pid", child);
        }
        alive.push_back(child);
        debug_assert_eq!(made + 1, reaped + alive.len());
    }
    while !alive.is_empty() {
        reaped += reap_first(&mut alive)?;
    }
    sys::say("total", reaped);
    Ok(0)
}

fn reap_first(alive: &mut VecDeque<pid_t>) -> Result<usize, String> {
    match alive.pop_front() {
        Some(pid) => sys::reap(pid).map(|_| 1),
        None => Ok(0),
    }
}

/// `storm-killed N`: sends SIGKILL to N children. Says `total`, the number that ended so.
fn storm_killed(mut args: Args) -> Outcome {
    let number: usize = args.number("N")?;
    let born = (0..number).map(|_| sys::fork_tied(|| sys::pause_for_good()));
    let children = born.collect::<Result<Vec<_>, _>>()?;
    for child in &children {
        sys::kill(*child, libc::SIGKILL)?;
    }
    let mut killed = 0;
    for child in children {
        killed += usize::from(sys::reap(child)? == libc::SIGKILL);
    }
    sys::say("total", killed);
    Ok(0)
}

/// `shell`: like a shell whose last command was killed: exits with 128 plus the signal.
fn shell(_args: Args) -> Outcome {
    let child = sys::fork_tied(|| sys::pause_for_good())?;
    sys::say_pid("child_pid", child);
    Ok(sys::shell_status(sys::reap(child)?))
}

/// `leave-child CODE`: exits with CODE and leaves a waiting child.
fn leave_child(mut args: Args) -> Outcome {
    let code = args.number("CODE")?;
    sys::say_pid("child_pid", sys::fork(|| sys::pause_for_good())?);
    Ok(code)
}

/// `unreaped COMMAND…`: a child runs COMMAND and stays a zombie. Says `ready=1` and waits.
fn unreaped(args: Args) -> Outcome {
    leave_zombie(|| run(args).unwrap_or(WRONG_USAGE.into()))?;
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `with-zombie COMMAND…`: runs COMMAND while it has a zombie child.
fn with_zombie(args: Args) -> Outcome {
    leave_zombie(|| 0)?;
    run(args)
}

/// Forks, says the pid, and returns when the child is a zombie.
fn leave_zombie(body: impl FnOnce() -> c_int) -> Result<(), String> {
    let child = sys::fork(body)?;
    sys::say_pid("child_pid", child);
    let id = libc::id_t::try_from(child).map_err(|why| why.to_string())?;
    // SAFETY: all zeros is a valid siginfo, and it outlives the call.
    let waited = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOWAIT)
    };
    sys::check("waitid", waited).map(drop)
}

/// `same-pid CODE…`: one child after the other exits with each CODE, all with the same pid. Needs root.
fn same_pid(args: Args) -> Outcome {
    let codes = args.rest()?;
    let codes: Vec<c_int> = codes.iter().filter_map(|code| code.parse().ok()).collect();
    let Some((first, more)) = codes.split_first() else {
        return Err("no CODE".to_owned());
    };
    let pid = sys::fork(|| *first)?;
    sys::say_pid("child_pid", pid);
    sys::reap(pid)?;
    for code in more {
        fork_as(pid, *code)?;
        sys::reap(pid)?;
    }
    Ok(0)
}

/// A child with a chosen pid, which must be free. It was just reaped, and the kernel reuses a pid only after all
/// others.
fn fork_as(pid: pid_t, code: c_int) -> Result<(), String> {
    // SAFETY: all zeros asks for nothing special; `pid` outlives the call; the child has a copy
    // of everything, and leaves at once.
    unsafe {
        let mut wish: libc::clone_args = std::mem::zeroed();
        wish.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        wish.set_tid = (&raw const pid) as u64;
        wish.set_tid_size = 1;
        let size = std::mem::size_of::<libc::clone_args>();
        match libc::syscall(libc::SYS_clone3, &raw const wish, size) {
            0 => sys::leave(code),
            -1 => Err(format!("clone3: {}", std::io::Error::last_os_error())),
            _ => Ok(()),
        }
    }
}
