//! Other load on the machine, for tests that must pass beside it.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libc::c_int;

use crate::args::Args;
use crate::socket::{self, Wish};
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[("load", load)];

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_signal: c_int) {
    STOPPED.store(true, Ordering::Relaxed);
}

/// `load SECONDS [BINDS]`: two loops, a process each, run without pause for SECONDS or until SIGTERM. This one forks children that
/// exit with 0 and 1 in turn; the other forks children that bind a loopback port that is in use, are refused, BINDS times (once,
/// if not given), and exit with 1. Says `ready=1` and, at the end, `forks` and `refusals`: how many children each loop had. Both
/// end with the parent of this process.
fn load(mut args: Args) -> Outcome {
    let end = Instant::now() + Duration::from_secs(args.number("SECONDS")?);
    let binds = args.number_or(1);
    sys::die_with_parent(libc::SIGTERM);
    let handler: extern "C" fn(c_int) = stop;
    sys::disposition(libc::SIGTERM, handler as libc::sighandler_t);
    let (mut reader, writer) = std::io::pipe().map_err(|why| why.to_string())?;
    let other = sys::fork_tied(|| match be_refused(end, binds) {
        Ok(refusals) => i32::from(Write::write_all(&mut &writer, &refusals.to_ne_bytes()).is_err()),
        Err(why) => {
            sys::complain(&why);
            1
        }
    })?;
    drop(writer);
    sys::say("ready", 1);
    let forks = repeat(end, |number| fork_and_reap(|| i32::from(number % 2 == 1)).map(drop))?;
    sys::kill(other, libc::SIGTERM)?;
    let mut refusals = [0; 8];
    let read = reader.read_exact(&mut refusals);
    read.map_err(|why| format!("the loop of refusals failed: {why}"))?;
    sys::reap(other)?;
    sys::say("forks", forks);
    sys::say("refusals", u64::from_ne_bytes(refusals));
    Ok(0)
}

/// Gives how often `step` was done; it gets the number of times before.
fn repeat(end: Instant, step: impl Fn(u64) -> Result<(), String>) -> Result<u64, String> {
    let mut done = 0;
    while Instant::now() < end && !STOPPED.load(Ordering::Relaxed) {
        step(done)?;
        done += 1;
    }
    Ok(done)
}

fn fork_and_reap(body: impl FnOnce() -> i32) -> Result<i32, String> {
    sys::reap(sys::fork(body)?).map(sys::shell_status)
}

/// The loop of refusals, on a port that this process serves.
fn be_refused(end: Instant, binds: u32) -> Result<u64, String> {
    let wish = |port| Wish::parse(&["tcp".to_owned(), format!("127.0.0.1:{port}")]);
    let any = wish(0)?;
    let listener = any.open()?;
    any.serve(listener).map_err(|refusal| format!("errno {}", refusal.errno))?;
    let taken = wish(socket::port(listener))?;
    let all_refused = || (0..binds).all(|_| is_refused(&taken));
    repeat(end, |_| match fork_and_reap(|| if all_refused() { 1 } else { 2 })? {
        1 => Ok(()),
        _ => Err("a bind that must be refused was not".to_owned()),
    })
}

fn is_refused(wish: &Wish) -> bool {
    let Ok(fd) = wish.open() else { return false };
    let refused = wish.bind(fd).is_err();
    // SAFETY: nobody else knows this descriptor.
    unsafe { libc::close(fd) };
    refused
}
