//! Children of this process, orphans that it adopted included. A pid stays a child's own until it is reaped, which happens
//! only here: no signal can reach a stranger.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, wait, waitid},
};

/// Sends a signal to a child; fails for everybody else.
pub(super) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("that is no pid")?;
    // Reaps nobody.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::Pid(pid), options).context("it is no child of the demo")?;
    kill_process(pid, signal).context("can't send it a signal")
}

/// Reaps them as they end, and says whether all of them have.
pub(super) fn ended_within(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !all_ended() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

fn all_ended() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            // There is nobody.
            Err(_) => return true,
        }
    }
}
