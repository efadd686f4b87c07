//! The processes of the demo, seen from the demo: starts them, talks to them, and ends them on every way out.

use std::{
    collections::HashMap,
    io::Write as _,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Child, ChildStdin, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::unix::pipe::Receiver,
};

use super::{children, parts::part};
use crate::model::{Process, Time};

/// So long they may take to end by themselves, and then again to die.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Debug)]
pub(super) struct Cast {
    supervisor: Child,
    // Open as long as the demo lives: its end is what they all go by, also when this process is killed.
    orders: Option<ChildStdin>,
    said: Lines<BufReader<Receiver>>,
    pids: HashMap<String, Vec<u32>>,
    /// When each was started, by the first event about it: its pid may be somebody else's after its death.
    starts: HashMap<u32, Time>,
    /// The port that is contested, once the worker has said it.
    pub(super) port: Option<u16>,
}

impl Cast {
    /// Starts the supervisor, which starts the others on order.
    pub(super) fn start(limit_bytes: u64, group: Option<&Path>) -> Result<Self> {
        // Orphans become children of this process: none can be reaped by somebody else, so that their pids stay theirs.
        set_child_subreaper(Some(getpid())).context("can't adopt orphans")?;
        let mut command = part("supervisor");
        command.arg("--limit-bytes").arg(limit_bytes.to_string());
        if let Some(group) = group {
            command.arg("--group").arg(group);
        }
        // A process group of their own: Ctrl-C is for the demo, which ends them in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut supervisor = command.spawn().context("can't start the supervisor")?;
        let orders = supervisor.stdin.take();
        let said = supervisor.stdout.take().context("the supervisor has no standard output")?;
        let said = Receiver::from_owned_fd(OwnedFd::from(said)).context("can't listen to it")?;
        let said = BufReader::new(said).lines();
        let pids = HashMap::from([("supervisor".to_owned(), vec![supervisor.id()])]);
        Ok(Self { supervisor, orders, said, pids, starts: HashMap::new(), port: None })
    }

    /// Waits until one of them says something, and takes note. Dropping the future loses nothing.
    pub(super) async fn listen(&mut self) -> Result<()> {
        let line = self.said.next_line().await.context("can't listen to the processes")?;
        let line = line.context("the supervisor of the demo ended early")?;
        let mut words = line.split(' ');
        let role = words.next().unwrap_or_default().to_owned();
        let pid = words.next().and_then(|pid| pid.parse::<u32>().ok());
        self.pids.entry(role).or_default().extend(pid);
        self.port = words.next().and_then(|port| port.parse().ok()).or(self.port);
        Ok(())
    }

    /// Who has that part, once it has said so.
    #[must_use]
    pub(super) fn pid(&self, role: &str) -> Option<u32> {
        self.pids.get(role)?.first().copied()
    }

    /// Whether that process is one of them: by what it has said, or because the supervisor started it.
    pub(super) fn has(&mut self, process: &Process) -> bool {
        let known = self.pids.values().flatten().any(|known| *known == process.pid)
            || process.ppid == Some(self.supervisor.id());
        let Some(start) = process.start_time.filter(|_| known) else { return known };
        *self.starts.entry(process.pid).or_insert(start) == start
    }

    /// Has the supervisor start the worker.
    pub(super) fn start_worker(&mut self) -> Result<()> {
        self.order("worker\n")
    }

    /// Has the supervisor start a replacement for that port.
    pub(super) fn start_replacement(&mut self, port: u16) -> Result<()> {
        self.order(&format!("{port}\n"))
    }

    fn order(&mut self, line: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the supervisor has no standard input")?;
        orders.write_all(line.as_bytes()).context("the supervisor does not listen")
    }
}

impl Drop for Cast {
    /// They end by themselves once nobody can give orders. Who does not is killed: those that were adopted by now here, the
    /// supervisor's own child by the supervisor's death.
    fn drop(&mut self) {
        drop(self.orders.take());
        if children::ended_within(LAST_WORDS) {
            return;
        }
        let supervisor = self.supervisor.id();
        let others = self.pids.values().flatten().filter(|pid| **pid != supervisor);
        for pid in [supervisor].iter().chain(others) {
            let _ = children::signal(*pid, Signal::KILL);
        }
        if !children::ended_within(LAST_WORDS) {
            tracing::warn!("processes of the demo are left: children of {supervisor}");
        }
    }
}
