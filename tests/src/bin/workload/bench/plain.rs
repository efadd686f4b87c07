//! Loads in which no process ends: threads, signals, system calls.

use std::sync::atomic::{AtomicU64, Ordering};

use libc::c_int;

use crate::sys;

/// Create, leave, join.
pub(super) fn threads(number: u64) -> Result<u64, String> {
    for _ in 0..number {
        let thread = std::thread::Builder::new().stack_size(1 << 16).spawn(|| ());
        let joined = thread.map_err(|why| why.to_string())?.join();
        joined.map_err(|_panic| "a thread panicked".to_owned())?;
    }
    Ok(0)
}

/// A signal that the process ignores: the cheapest there is, so that a tax on it shows most.
pub(super) fn signals(number: u64) -> Result<u64, String> {
    sys::disposition(libc::SIGUSR1, libc::SIG_IGN);
    to_itself(number)
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// A signal that a handler takes.
pub(super) fn handled(number: u64) -> Result<u64, String> {
    sys::disposition(libc::SIGUSR1, count as *const () as libc::sighandler_t);
    to_itself(number)?;
    match HANDLED.load(Ordering::Relaxed) {
        counted if counted == number => Ok(0),
        counted => Err(format!("{counted} of {number} signals were handled")),
    }
}

fn to_itself(number: u64) -> Result<u64, String> {
    let own = sys::own_pid();
    for _ in 0..number {
        sys::kill(own, libc::SIGUSR1)?;
    }
    Ok(0)
}

/// The cheapest system call.
#[expect(clippy::unnecessary_wraps, reason = "a load like the others")]
pub(super) fn getppid(number: u64) -> Result<u64, String> {
    for _ in 0..number {
        // SAFETY: no arguments.
        unsafe { libc::getppid() };
    }
    Ok(0)
}
