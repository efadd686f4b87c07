//! Processes whose end is known. `src/bin/workload` has the commands.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use crate::process::Process;
use crate::{Events, Observer, binaries, ours, patience, sys};

/// A running workload. On drop, it and every process that it named are killed.
pub struct Workload {
    process: Process,
    words: String,
    /// Pidfds of the processes that it named. They may outlive it, and their pids may be reused.
    others: Vec<OwnedFd>,
    seen: usize,
    reported: Vec<(String, String)>,
}

/// Runs a workload to its end.
pub fn run<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> (Workload, ExitStatus) {
    let mut workload = Workload::start(words);
    let ended = workload.wait();
    (workload, ended)
}

/// Lets so many children exit with 1 and waits until all are reported.
#[track_caller]
pub fn deaths(tail: &mut Observer, number: usize) -> Workload {
    let known = unreported(tail.so_far());
    let (storm, _) = run(["storm".to_owned(), number.to_string(), "1".to_owned()]);
    wait_for_children(tail, &storm, number, known);
    storm
}

/// How many exits are reported as lost or skipped.
pub fn unreported(events: &Events) -> u64 {
    events.lost_of("exit") + events.skipped()
}

/// Waits until the exits of so many children are reported, or as many are reported as lost or skipped since
/// [`unreported`] was `known`. [`Events::assert_all_reported`] judges the result.
#[track_caller]
pub fn wait_for_children(tail: &mut Observer, parent: &Workload, number: usize, known: u64) {
    // Skipped exits are reported with the next exit only.
    wait_for_marker(tail);
    let pid = parent.pid();
    tail.wait_until("all of them", |events| {
        let reported = events.exits_of_children(pid).count();
        let unreported = usize::try_from(unreported(events) - known).unwrap_or(0);
        (reported + unreported >= number).then_some(())
    });
}

/// Lets a process exit with 1 and waits until it is reported. When exits are lost meanwhile, tries again with another
/// process.
#[track_caller]
pub fn wait_for_marker(tail: &mut Observer) {
    loop {
        let known = tail.so_far().lost_of("exit");
        let (marker, _) = run(["exit", "1"]);
        let reported = tail.wait_until("the exit of a marker, or a loss", |events| {
            let reported = events.exits_of(marker.pid()).next().is_some();
            (reported || events.lost_of("exit") > known).then_some(reported)
        });
        if reported {
            return;
        }
    }
}

impl Workload {
    /// Starts it with that command line.
    pub fn start<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut command = Command::new(binaries::workload());
        command.args(words);
        Self::from(command)
    }

    /// Starts a command line that ends in a waiting workload, and returns when that is ready.
    pub fn start_ready<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut workload = Self::start(words);
        workload.value("ready");
        workload
    }

    /// Starts a prepared command, such as a copy of the workload under another name.
    pub fn from(command: Command) -> Self {
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let mut words = words.join(" ");
        words.truncate(words.floor_char_boundary(200));
        let process = Process::start(command);
        Self { process, words, others: Vec::new(), seen: 0, reported: Vec::new() }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Sends it a signal, from the test itself.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Stops it and lets it go on. The stop is not waited for by a parent.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
        sys::wait_for_stop(self.pid());
        self.signal(libc::SIGCONT);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Waits until it prints `key=value`, and returns the first such value.
    pub fn value(&mut self, key: &str) -> String {
        let deadline = Instant::now() + patience::limit();
        loop {
            if let Some((_, value)) = self.reported.iter().find(|(known, _)| known == key) {
                return value.clone();
            }
            let more = self.more(deadline);
            assert!(more, "workload {:?} prints no {key}{}", self.words, self.process.said());
        }
    }

    /// [`Self::value`] as a number.
    pub fn number(&mut self, key: &str) -> u64 {
        self.value(key).parse().expect("a number")
    }

    /// [`Self::value`] as a pid.
    pub fn pid_of(&mut self, key: &str) -> u32 {
        self.value(key).parse().expect("a pid")
    }

    /// All pids that it prints under `key` until it closes its output.
    pub fn all_pids(&mut self, key: &str) -> Vec<u32> {
        self.process.out.to_the_end();
        while self.more(Instant::now()) {}
        let reported = self.reported.iter().filter(|(known, _)| known == key);
        reported.map(|(_, value)| value.parse().expect("a pid")).collect()
    }

    /// All lines of its standard error, after it has closed it.
    pub fn stderr(&self) -> Vec<String> {
        let lines = self.process.err.to_the_end();
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    fn more(&mut self, deadline: Instant) -> bool {
        let more = self.process.out.grow_beyond(self.seen, deadline);
        for line in self.process.out.from(self.seen) {
            self.seen += 1;
            let line = String::from_utf8(line).expect("a workload prints UTF-8");
            let (key, value) = line.split_once('=').expect("a workload prints key=value");
            if key.ends_with("pid") {
                let pid = value.parse().expect("a pid");
                ours::add(pid, self.process.before);
                self.others.extend(sys::pidfd(pid));
            }
            self.reported.push((key.to_owned(), value.to_owned()));
        }
        more
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        for other in &self.others {
            sys::kill_by(other);
        }
    }
}
