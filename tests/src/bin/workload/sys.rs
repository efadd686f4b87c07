//! Thin safe wrappers around the system calls that every module needs.

use std::io::{Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::{c_int, pid_t};

/// Restores default signal actions. Rust ignores SIGPIPE and catches SIGSEGV and SIGBUS before `main`, and a test
/// runner in the background may ignore the signals of a terminal.
pub(crate) fn dispose_of_signals_as_usual() {
    let of_terminals = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];
    let of_the_runtime = [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS];
    for signal in of_terminals.into_iter().chain(of_the_runtime) {
        disposition(signal, libc::SIG_DFL);
    }
}

/// No core dumps; only `with-core` asks for them.
pub(crate) fn dump_no_core() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit);
        limit.rlim_cur = 0;
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
    }
}

/// Prints `key=value` for the test, at once.
///
/// # Panics
/// When standard output is closed: then no test reads it.
pub(crate) fn say(key: &str, value: impl std::fmt::Display) {
    say_line(&format!("{key}={value}"));
}

/// The same for a line of another form.
///
/// # Panics
/// As [`say`].
pub(crate) fn say_line(text: &str) {
    let mut out = stdout().lock();
    let done = writeln!(out, "{text}").and_then(|()| out.flush());
    assert!(done.is_ok(), "standard output is closed");
}

static IN_PID_NAMESPACE: AtomicBool = AtomicBool::new(false);

/// From now on pids are those of another pid namespace.
pub(crate) fn pids_are_private() {
    IN_PID_NAMESPACE.store(true, Ordering::Relaxed);
}

/// Names a process that belongs to the test. Not one of another pid namespace: the test would kill the wrong process.
pub(crate) fn say_pid(key: &str, pid: pid_t) {
    if !IN_PID_NAMESPACE.load(Ordering::Relaxed) {
        say(key, pid);
    }
}

/// Says on standard error why it failed; a failing test prints it.
pub(crate) fn complain(why: &str) {
    let _ = writeln!(std::io::stderr(), "workload: {why}");
}

/// `errno` of the last call.
pub(crate) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Turns -1 into an error with the call's name and reason.
pub(crate) fn check(call: &str, result: c_int) -> Result<c_int, String> {
    match result {
        -1 => Err(format!("{call}: {}", std::io::Error::last_os_error())),
        result => Ok(result),
    }
}

pub(crate) fn disposition(signal: c_int, handler: libc::sighandler_t) {
    // SAFETY: `handler` is SIG_DFL, SIG_IGN or a function that only stores to an atomic.
    unsafe { libc::signal(signal, handler) };
}

/// Blocks `signal` and returns the old mask.
pub(crate) fn block(signal: c_int) -> libc::sigset_t {
    // SAFETY: both sets are filled by the calls before anything reads them.
    unsafe {
        let mut set = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
        before
    }
}

/// Forks; the child exits with the code of `body`, without flushing the parent's buffers.
pub(crate) fn fork(body: impl FnOnce() -> i32) -> Result<pid_t, String> {
    // SAFETY: no command forks while it has a second thread, so the child may run any code.
    match unsafe { libc::fork() } {
        0 => leave(body()),
        pid => check("fork", pid),
    }
}

/// `fork` for a child that waits: it dies with its parent, so that a failing test leaves nothing behind.
pub(crate) fn fork_tied(body: impl FnOnce() -> i32) -> Result<pid_t, String> {
    let parent = own_pid();
    fork(move || {
        die_with_parent(libc::SIGKILL);
        // SAFETY: no arguments.
        let orphaned = unsafe { libc::getppid() } != parent;
        if orphaned { 0 } else { body() }
    })
}

pub(crate) fn die_with_parent(signal: c_int) {
    // SAFETY: takes two integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
}

pub(crate) fn own_pid() -> pid_t {
    // SAFETY: no arguments.
    unsafe { libc::getpid() }
}

/// `_exit`: the whole process, without exit handlers.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: never returns, runs no handlers.
    unsafe { libc::_exit(code) }
}

/// Ends the calling thread alone, by the plain system call.
pub(crate) fn leave_thread(code: i32) -> ! {
    // SAFETY: the thread's stack stays mapped, which is all that the others could miss.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    unreachable!("SYS_exit returns to nobody")
}

/// Reaps `pid` and returns its raw wait status.
pub(crate) fn reap(pid: pid_t) -> Result<c_int, String> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
            -1 if errno() == libc::EINTR => {}
            result => return check("waitpid", result).map(|_| status),
        }
    }
}

/// The status as a shell's `$?`.
pub(crate) fn shell_status(status: c_int) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

pub(crate) fn kill(pid: pid_t, signal: c_int) -> Result<(), String> {
    // SAFETY: takes two integers.
    check("kill", unsafe { libc::kill(pid, signal) }).map(drop)
}

pub(crate) fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Waits for a signal that ends the process.
pub(crate) fn pause_for_good() -> ! {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// Sets a resource limit of this process.
pub(crate) fn set_limit(
    what: libc::__rlimit_resource_t,
    soft: u64,
    hard: u64,
) -> Result<(), String> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call.
    check("setrlimit", unsafe { libc::setrlimit(what, &raw const limit) }).map(drop)
}
