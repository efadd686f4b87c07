//! The binary under test, running.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use serde_json::Value;

use crate::expect::Story;
use crate::numbers::Numbers;
use crate::process::Process;
use crate::skim::{self, Skimmed};
use crate::{binaries, ours, patience, schema};

/// `observer tail --json`, past its `session` event. Killed by its pid on drop.
pub struct Observer {
    process: Process,
    read: usize,
    story: Story,
    faults: Vec<String>,
    numbers: Numbers,
}

/// So many of the first events are held to the schema, and later ones when they are ours.
const CHECKED: usize = 200;

/// What is left of an observer that was asked to stop.
pub struct Finished {
    /// All events about processes of this test, in the order in which they were printed.
    pub story: Story,
    /// The `seq` of every event, of whomever.
    pub numbers: Numbers,
    /// Standard error, line by line.
    pub stderr: Vec<String>,
    /// How it ended.
    pub status: ExitStatus,
}

/// `observer` with these arguments, uncoloured and with no configuration of this machine.
pub fn command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Command {
    let mut command = Command::new(binaries::observer());
    command.args(words).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

impl Finished {
    /// How many were lost, and not because this client of a service did not read.
    pub fn lost_by_the_service(&self) -> u64 {
        self.story.lost() - self.numbers.lost_in_gaps()
    }
}

impl Observer {
    /// Starts `observer tail --json` with more arguments, and returns when it watches.
    pub fn tail(more: &[&str]) -> Self {
        Self::watching(Process::start(tail_command(more)))
    }

    /// The same, but nothing is read of it after its `session`, until [`Self::read_on`]: a
    /// terminal that hangs.
    pub fn tail_hanging(more: &[&str]) -> Self {
        Self::watching(Process::start_hanging(tail_command(more)))
    }

    fn watching(process: Process) -> Self {
        let mut observer = Self::of(process);
        observer.wait_for("its first event", |_| true);
        observer
    }

    fn of(process: Process) -> Self {
        let (story, faults, numbers) = (Story::default(), Vec::new(), Numbers::default());
        Self { process, read: 0, story, faults, numbers }
    }

    /// Reads on, after [`Self::tail_hanging`].
    pub fn read_on(&self) {
        self.process.out.open();
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The first event about our processes that `is_it`, now or soon.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(what, |story| story.events.iter().find(|event| is_it(event)).cloned())
    }

    /// The `exit` of that process, now or soon.
    pub fn exit_of(&mut self, pid: u32) -> Value {
        self.wait_until(&format!("the exit of {pid}"), |story| story.exits_of(pid).next().cloned())
    }

    /// What `find` finds in all that was told until now, now or soon.
    pub fn wait_until<T>(&mut self, what: &str, find: impl Fn(&Story) -> Option<T>) -> T {
        let deadline = Instant::now() + patience::limit();
        let mut known = None;
        loop {
            self.read();
            // Most of what comes on a busy machine is about others.
            let grown = known.replace(self.story.events.len()) != Some(self.story.events.len());
            if let Some(found) = grown.then(|| find(&self.story)).flatten() {
                return found;
            }
            let grown = self.process.out.grow_beyond(self.read, deadline);
            assert!(grown, "{what} does not come; {}{}", self.story, self.process.said());
        }
    }

    /// What it told until now.
    pub fn so_far(&mut self) -> &Story {
        self.read();
        &self.story
    }

    /// How many were lost until now, and not because this client of a service did not read.
    pub fn lost_by_the_service(&mut self) -> u64 {
        self.read();
        self.story.lost() - self.numbers.lost_in_gaps()
    }

    /// Takes in the lines that came. Nothing is kept of an event that is not ours.
    fn read(&mut self) {
        for line in self.process.out.take_from(self.read) {
            self.read += 1;
            // A few of others' are held to the schema too, and so parsed.
            let parsed = self.read <= CHECKED;
            let skimmed = if parsed { skim::whole(&line) } else { skim::skim(&line) };
            match skimmed {
                Err(why) => self.faults.push(format!("line {} is no JSON: {why}", self.read)),
                Ok(Skimmed::Whole(event)) => self.take(event, parsed),
                Ok(Skimmed::Other { seq, initial, .. }) => {
                    if let Some(seq) = seq {
                        self.numbers.add(seq, initial);
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
        if let Some(seq) = event["seq"].as_u64() {
            self.numbers.add(seq, event["initial"] == true);
            self.numbers.note(&event);
        }
        if self.read == 1 && event["kind"] != "session" {
            self.faults.push(format!("the first event is no session but {}", event["kind"]));
        }
        if ours {
            self.story.events.push(event);
        }
    }

    /// Ctrl-C, then everything that is left. Holds the whole output to the contract.
    pub fn stop(self) -> Finished {
        self.read_on();
        self.process.signal(libc::SIGINT);
        self.finish()
    }

    /// Waits until it ends by itself, and judges as [`Self::stop`] does.
    pub fn finish(self) -> Finished {
        let ended = self.judge();
        assert!(ended.status.success(), "it ended with {}: {:?}", ended.status, ended.stderr);
        ended
    }

    /// Waits until it ends because the service that it had joined is gone, and says so.
    pub fn finish_left(self) -> Finished {
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
        assert!(self.numbers.all.is_sorted(), "`seq` goes back");
        let story = std::mem::take(&mut self.story);
        Finished { story, numbers: std::mem::take(&mut self.numbers), stderr, status }
    }
}

fn tail_command(more: &[&str]) -> Command {
    command(["tail", "--json"].iter().chain(more))
}
