//! What every process manager does: starts a worker, waits for its end, starts another one.

use std::{
    fs,
    io::{BufRead as _, stdin},
    path::Path,
    process::{Child, ExitStatus},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{die_with_parent, name, part, report};

/// How far a worker goes beyond its limit when nothing stops it, as a factor: far enough for the kernel, and no danger
/// to the machine.
const BEYOND: u64 = 4;

/// How often it reads the worker's memory where the kernel does not.
const LOOK: Duration = Duration::from_millis(10);

/// Starts the worker at the first line of its standard input, and then a replacement for each port that is named there.
pub(super) fn run(limit_bytes: u64, group: Option<&Path>) -> Result<()> {
    die_with_parent()?;
    name(c"demo-supervisor")?;
    report("supervisor", None)?;
    let mut command = part("worker");
    command.arg("--most-bytes").arg(limit_bytes.saturating_mul(BEYOND).to_string());
    if let Some(group) = group {
        command.arg("--group").arg(group);
    }
    let mut orders = stdin().lock().lines();
    if orders.next().transpose()?.is_none() {
        return Ok(());
    }
    let mut worker = command.spawn().context("can't start the worker")?;
    match group {
        Some(_) => worker.wait()?,
        None => hold_to(limit_bytes, &mut worker)?,
    };
    for port in orders {
        let mut replacement = part("replacement");
        replacement.arg(port?).spawn().context("can't start the replacement")?.wait()?;
    }
    Ok(())
}

/// Does the kernel's work where there is no memory group: kills the worker once it is over the limit.
fn hold_to(limit_bytes: u64, worker: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(ended) = worker.try_wait()? {
            return Ok(ended);
        }
        if resident_bytes(worker.id()).is_some_and(|bytes| bytes > limit_bytes) {
            worker.kill()?;
        }
        thread::sleep(LOOK);
    }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
