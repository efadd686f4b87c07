//! The loads that `workload bench` makes, and how long they take.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process;

/// A load.
pub(crate) struct Load {
    /// Its name in `workload bench`.
    pub(crate) name: &'static str,
    /// What one operation does.
    pub(crate) operation: &'static str,
    /// Operations of each worker: half a second to a second in all.
    pub(crate) number: u64,
    /// The tracepoint on which an empty program is the floor.
    pub(crate) hook: Option<&'static str>,
    /// Processes end: tools that watch only deaths are measured.
    pub(crate) deadly: bool,
}

const EXIT: Option<&str> = Some("sched_process_exit");
const SIGNAL: Option<&str> = Some("signal_generate");
/// A tracepoint of one system call slows down all system calls.
const SYSCALL: Option<&str> = Some("syscalls/sys_exit_bind");

/// Loads that have a target for the slowdown.
pub(crate) const SLOWED: [&str; 4] = ["fork-exit", "spawn", "connect", "getppid"];

/// All loads.
pub(crate) const LOADS: [Load; 11] = [
    load("fork-exit", "fork, _exit, wait", 6000, EXIT, true),
    load("spawn", "posix_spawn of a program of one page, wait", 7000, EXIT, true),
    load("killed", "fork, SIGKILL or SIGTERM from the parent, wait", 3500, EXIT, true),
    load("threads", "create, leave, join", 25_000, EXIT, false),
    load("signals", "kill(2), ignored", 1_000_000, SIGNAL, false),
    load("handled", "kill(2), handled", 250_000, SIGNAL, false),
    load("connect", "TCP connect, accept, close on loopback", 25_000, None, false),
    load("bind", "socket, bind, close", 90_000, None, false),
    load("refused", "socket, bind on a served port, close", 40_000, None, false),
    load("getppid", "getppid(2)", 5_000_000, SYSCALL, false),
    load("mix", "a request of a busy web host", 8000, EXIT, true),
];

const fn load(
    name: &'static str,
    operation: &'static str,
    number: u64,
    hook: Option<&'static str>,
    deadly: bool,
) -> Load {
    Load { name, operation, number, hook, deadly }
}

impl Load {
    /// Factor on the rounds of a load that has a target for the slowdown: a few percent are less than the spread of one tool.
    pub(crate) fn thoroughness(&self) -> usize {
        if SLOWED.contains(&self.name) { 3 } else { 1 }
    }
}

/// Result of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) operations: u64,
    /// Processes that died, the workload itself included.
    pub(crate) deaths: u64,
    pub(crate) nanoseconds: u64,
}

/// The comm of all processes of the loads, which no other process has, so that they can be counted.
pub(crate) fn mark() -> String {
    format!("ob{}", std::process::id())
}

/// Runs `number` operations of a load on both of two workers.
pub(crate) fn run(workload: &Path, name: &str, number: u64) -> Result<Taken> {
    run_after(workload, &[], name, number)
}

/// The same behind other words of the workload, such as `as-user UID`.
pub(crate) fn run_after(workload: &Path, words: &[&str], name: &str, number: u64) -> Result<Taken> {
    let mut command = Command::new(workload);
    command.args(["named", &mark()]).args(words).args(["bench", name, &number.to_string()]);
    let said = process::read(&mut command)?;
    let value: Value = serde_json::from_str(&said)
        .with_context(|| format!("`{}` said {said:?}", process::line(&command)))?;
    let of = |key: &str| value[key].as_u64().with_context(|| format!("no {key} in {said:?}"));
    Ok(Taken {
        operations: of("operations")?,
        deaths: of("deaths")? + 1,
        nanoseconds: of("nanoseconds")?,
    })
}
