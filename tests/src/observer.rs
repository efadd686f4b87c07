//! The running binary under test.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use serde_json::Value;

use crate::expect::Events;
use crate::numbers::Numbers;
use crate::process::Process;
use crate::skim::{self, Skimmed};
use crate::{binaries, ours, patience, schema};

/// `observer tail --json` that has printed its `session` event. Killed by pid on drop.
pub struct Observer {
    process: Process,
    read: usize,
    events: Events,
    faults: Vec<String>,
    numbers: Numbers,
}

/// So many of the first lines are checked against the schema; after those, only events of the test's processes.
const CHECKED: usize = 200;

/// The output of an observer that has ended.
pub struct Finished {
    /// All events about processes of this test, in the order in which they were printed.
    pub events: Events,
    /// The `seq` of every event, also of other processes' events.
    pub numbers: Numbers,
    /// Standard error, line by line.
    pub stderr: Vec<String>,
    /// How it ended.
    pub status: ExitStatus,
}

/// `observer` with these arguments, without colours and without this machine's configuration.
pub fn command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Command {
    let mut command = Command::new(binaries::observer());
    command.args(words).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

impl Finished {
    /// How many events were lost, except those that this client of the service did not read in time.
    pub fn lost_by_the_service(&self) -> u64 {
        self.events.lost() - self.numbers.lost_by_client()
    }
}

impl Observer {
    /// Starts `observer tail --json` with more arguments and waits for its `session`.
    pub fn tail(more: &[&str]) -> Self {
        Self::watching(Process::start(tail_command(more)))
    }

    /// The same, but its output is not read beyond the `session` before [`Self::read_on`], like a blocked terminal.
    pub fn tail_hanging(more: &[&str]) -> Self {
        Self::watching(Process::start_hanging(tail_command(more)))
    }

    fn watching(process: Process) -> Self {
        let mut observer = Self::of(process);
        observer.wait_for("its first event", |_| true);
        observer
    }

    fn of(process: Process) -> Self {
        let (events, faults, numbers) = (Events::default(), Vec::new(), Numbers::default());
        Self { process, read: 0, events, faults, numbers }
    }

    /// Reads on after [`Self::tail_hanging`].
    pub fn read_on(&self) {
        self.process.out.open();
    }

    /// Stops it with SIGSTOP: the kernel side goes on.
    pub fn freeze(&self) {
        self.process.signal(libc::SIGSTOP);
    }

    /// Goes on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.process.signal(libc::SIGCONT);
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Waits for the first event of this test's processes that `is_it`.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(what, |events| events.all.iter().find(|event| is_it(event)).cloned())
    }

    /// Waits for the `exit` of that process.
    pub fn exit_of(&mut self, pid: u32) -> Value {
        self.wait_until(&format!("the exit of {pid}"), |events| {
            events.exits_of(pid).next().cloned()
        })
    }

    /// Waits until `find` finds something in all events so far.
    pub fn wait_until<T>(&mut self, what: &str, find: impl Fn(&Events) -> Option<T>) -> T {
        let deadline = Instant::now() + patience::limit();
        let mut known = None;
        loop {
            self.read();
            // On a busy machine most lines are about other processes.
            let grown = known.replace(self.events.all.len()) != Some(self.events.all.len());
            if let Some(found) = grown.then(|| find(&self.events)).flatten() {
                return found;
            }
            let grown = self.process.out.grow_beyond(self.read, deadline);
            assert!(grown, "missing: {what}; {}{}", self.events, self.process.said());
        }
    }

    /// All events so far.
    pub fn so_far(&mut self) -> &Events {
        self.read();
        &self.events
    }

    /// How many events were lost so far, except those that this client of the service did not read in time.
    pub fn lost_by_the_service(&mut self) -> u64 {
        self.read();
        self.events.lost() - self.numbers.lost_by_client()
    }

    /// Reads the new lines. Events of other processes are not kept.
    fn read(&mut self) {
        for line in self.process.out.take_from(self.read) {
            self.read += 1;
            // The first lines are parsed to check them against the schema.
            let parsed = self.read <= CHECKED;
            let skimmed = if parsed { skim::whole(&line) } else { skim::skim(&line) };
            match skimmed {
                Err(why) => self.faults.push(format!("line {} is no JSON: {why}", self.read)),
                Ok(Skimmed::Whole(event)) => self.take(event, parsed),
                Ok(Skimmed::Other { seq, .. }) => {
                    if let Some(seq) = seq {
                        self.numbers.add(seq);
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Value, check: bool) {
        let ours = ours::concerns(&event);
        if ours || check {
            self.faults.extend(schema::faults(&event, ours));
        }
        self.numbers.note(&event);
        if let Some(seq) = event["seq"].as_u64() {
            self.numbers.add(seq);
        }
        if self.read == 1 && event["kind"] != "session" {
            self.faults.push(format!("the first event is no session but {}", event["kind"]));
        }
        if ours {
            self.events.all.push(event);
        }
    }

    /// Sends SIGINT, reads the rest, and checks the whole output against the contract.
    pub fn stop(self) -> Finished {
        self.read_on();
        self.process.signal(libc::SIGINT);
        self.finish()
    }

    /// Waits until it ends by itself, and checks the output as [`Self::stop`] does.
    pub fn finish(self) -> Finished {
        let ended = self.judge();
        assert!(ended.status.success(), "it ended with {}: {:?}", ended.status, ended.stderr);
        ended
    }

    /// Waits until it ends with "the service has ended".
    pub fn finish_after_the_service(self) -> Finished {
        let ended = self.judge();
        assert_eq!(ended.status.code(), Some(4), "{:?}", ended.stderr);
        let last = ended.stderr.last().map(String::as_str).unwrap_or_default();
        assert!(last.contains("the service has ended"), "{:?}", ended.stderr);
        ended
    }

    fn judge(mut self) -> Finished {
        let status = self.process.wait();
        self.process.out.to_the_end();
        self.read();
        let lines = self.process.err.to_the_end();
        let stderr = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
        assert!(self.numbers.all.is_sorted(), "`seq` decreases");
        let events = std::mem::take(&mut self.events);
        Finished { events, numbers: std::mem::take(&mut self.numbers), stderr, status }
    }
}

fn tail_command(more: &[&str]) -> Command {
    command(["tail", "--json"].iter().chain(more))
}
