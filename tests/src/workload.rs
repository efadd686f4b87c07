//! Processes with a known end. See `src/bin/workload` for what they can do.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use crate::process::Process;
use crate::{Observer, Story, binaries, ours, patience, sys};

/// A running workload. When it is dropped, it and every process that it named are killed.
pub struct Workload {
    process: Process,
    words: String,
    /// Of processes that it named. They may outlive it, and then their pids may come round again.
    others: Vec<OwnedFd>,
    seen: usize,
    told: Vec<(String, String)>,
}

/// Runs a workload to its end.
pub fn run<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> (Workload, ExitStatus) {
    let mut workload = Workload::start(words);
    let ended = workload.wait();
    (workload, ended)
}

/// So many abnormal deaths, until who follows has been told of all.
#[track_caller]
pub fn deaths(tail: &mut Observer, number: usize) -> Workload {
    let known = unsaid(tail.so_far());
    let (storm, _) = run(["storm".to_owned(), number.to_string(), "1".to_owned()]);
    wait_for_children(tail, &storm, number, known);
    storm
}

/// How many deaths are said to be lost or skipped.
pub fn unsaid(story: &Story) -> u64 {
    story.lost_of("exit") + story.skipped()
}

/// Waits until the deaths of so many children are told, or as many are said to be lost or skipped since [`unsaid`] was `known`:
/// whether that is good enough, [`Story::assert_all_told`] says.
#[track_caller]
pub fn wait_for_children(tail: &mut Observer, parent: &Workload, number: usize, known: u64) {
    // Nobody is woken to say what was skipped: that comes with the next death.
    wait_for_marker(tail);
    let pid = parent.pid();
    tail.wait_until("all of them", |story| {
        let told = story.exits_of_children(pid).count();
        let unsaid = usize::try_from(unsaid(story) - known).unwrap_or(0);
        (told + unsaid >= number).then_some(())
    });
}

/// Lets a process die and waits until it is told. When others die so fast that deaths are lost meanwhile, another one dies.
#[track_caller]
pub fn wait_for_marker(tail: &mut Observer) {
    loop {
        let known = tail.so_far().lost_of("exit");
        let (marker, _) = run(["exit", "1"]);
        let told = tail.wait_until("the exit of a marker, or a loss", |story| {
            let told = story.exits_of(marker.pid()).next().is_some();
            (told || story.lost_of("exit") > known).then_some(told)
        });
        if told {
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

    /// Starts a command line that ends in a workload that waits, and returns when it does.
    pub fn start_ready<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut workload = Self::start(words);
        workload.value("ready");
        workload
    }

    /// Starts a command of the test's own making, such as a copy under another name.
    pub fn from(command: Command) -> Self {
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let mut words = words.join(" ");
        words.truncate(words.floor_char_boundary(200));
        let process = Process::start(command);
        Self { process, words, others: Vec::new(), seen: 0, told: Vec::new() }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Sends it a signal, from the test itself.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Stops it, and lets it go on. Nobody takes note of the stop, as if its parent did not care.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
        sys::wait_for_stop(self.pid());
        self.signal(libc::SIGCONT);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Waits until it says `key=value`, and gives the first such value.
    pub fn value(&mut self, key: &str) -> String {
        let deadline = Instant::now() + patience::limit();
        loop {
            if let Some((_, value)) = self.told.iter().find(|(known, _)| known == key) {
                return value.clone();
            }
            let more = self.more(deadline);
            assert!(more, "workload {:?} says no {key}{}", self.words, self.process.said());
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

    /// All pids that it says under `key` until it closes its output.
    pub fn all_pids(&mut self, key: &str) -> Vec<u32> {
        self.process.out.to_the_end();
        while self.more(Instant::now()) {}
        let told = self.told.iter().filter(|(known, _)| known == key);
        told.map(|(_, value)| value.parse().expect("a pid")).collect()
    }

    /// Everything that it says on standard error until it closes that.
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
            self.told.push((key.to_owned(), value.to_owned()));
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
