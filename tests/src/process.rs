//! A child process, its output, and how it ended.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Instant, SystemTime};

use crate::{ours, patience, sys};

/// A child whose standard output and standard error are read line by line. Killed by pid on drop.
pub struct Process {
    name: String,
    /// Its pid, valid until it is reaped.
    pub pid: u32,
    /// A moment before it was started.
    pub before: SystemTime,
    handle: OwnedFd,
    ended: Option<ExitStatus>,
    /// Standard output.
    pub out: Arc<Lines>,
    /// Standard error.
    pub err: Arc<Lines>,
}

impl Process {
    /// Starts `command` and reads its output at once.
    pub fn start(command: Command) -> Self {
        Self::start_reading(command, true)
    }

    /// Starts `command`, but reads its standard output only up to the first line (and what came with it) until
    /// [`Lines::open`].
    pub fn start_hanging(command: Command) -> Self {
        Self::start_reading(command, false)
    }

    #[expect(clippy::zombie_processes, reason = "reaped by `wait` or on drop")]
    fn start_reading(mut command: Command, at_once: bool) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let before = SystemTime::now();
        let mut child = command.spawn().unwrap_or_else(|why| panic!("{name}: {why}"));
        let pid = child.id();
        ours::add(pid, before);
        let handle = sys::pidfd(pid).expect("a child that was not reaped has a pidfd");
        let out = Lines::read_from(child.stdout.take().expect("piped"), at_once);
        let err = Lines::read_from(child.stderr.take().expect("piped"), true);
        Self { name, pid, before, handle, ended: None, out, err }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        assert!(self.ended.is_none(), "{} has been reaped", self.name);
        sys::kill(self.pid, signal);
    }

    /// Waits for its end and reaps it.
    pub fn wait(&mut self) -> ExitStatus {
        if let Some(ended) = self.ended {
            return ended;
        }
        let in_time = sys::ended_within(&self.handle, patience::limit());
        assert!(in_time, "{} (pid {}) does not end{}", self.name, self.pid, self.said());
        let ended = *self.ended.insert(sys::reap(self.pid));
        ours::reaped(self.pid);
        ended
    }

    /// The last lines of its standard error, for messages.
    pub fn said(&self) -> String {
        let lines = self.err.so_far();
        let text = |line: &Vec<u8>| format!("\n  stderr: {}", String::from_utf8_lossy(line));
        lines[lines.len().saturating_sub(20)..].iter().map(text).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.out.open();
        if self.ended.is_none() {
            sys::kill_by(&self.handle);
            sys::reap(self.pid);
            ours::reaped(self.pid);
        }
    }
}

/// The lines read from one pipe.
#[derive(Default)]
pub struct Lines {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Vec<u8>>,
    open: bool,
    ended: bool,
}

impl Lines {
    fn read_from(pipe: impl Read + Send + 'static, at_once: bool) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        if at_once {
            lines.open();
        }
        let theirs = Arc::clone(&lines);
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            loop {
                let mut line = Vec::new();
                let read = pipe.read_until(b'\n', &mut line);
                let mut state = theirs.state.lock().expect("no panic while it is held");
                match read {
                    Ok(length) if length > 0 => {
                        line.pop_if(|last| *last == b'\n');
                        state.lines.push(line);
                    }
                    _ => state.ended = true,
                }
                theirs.grown.notify_all();
                if state.ended {
                    break;
                }
                drop(theirs.grown.wait_while(state, |state| !state.open));
            }
        });
        lines
    }

    /// Lets a blocked reader go on.
    pub fn open(&self) {
        self.state.lock().expect("no panic while it is held").open = true;
        self.grown.notify_all();
    }

    /// All lines so far.
    pub fn so_far(&self) -> Vec<Vec<u8>> {
        self.from(0)
    }

    /// The lines so far, from this index on.
    pub fn from(&self, first: usize) -> Vec<Vec<u8>> {
        let state = self.state.lock().expect("no panic while it is held");
        state.lines.get(first..).unwrap_or_default().to_vec()
    }

    /// The same, but drops them: the output on a busy machine would take gigabytes.
    pub fn take_from(&self, first: usize) -> Vec<Vec<u8>> {
        let mut state = self.state.lock().expect("no panic while it is held");
        state.lines.get_mut(first..).into_iter().flatten().map(std::mem::take).collect()
    }

    /// Waits for more than `known` lines. False when the pipe was closed or the deadline has passed.
    pub fn grow_beyond(&self, known: usize, deadline: Instant) -> bool {
        let mut state = self.state.lock().expect("no panic while it is held");
        while state.lines.len() <= known && !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.grown.wait_timeout(state, left);
            state = woken.expect("no panic while it is held").0;
        }
        state.lines.len() > known
    }

    /// Waits until the other end closes the pipe, and returns all lines.
    pub fn to_the_end(&self) -> Vec<Vec<u8>> {
        let state = self.state.lock().expect("no panic while it is held");
        let limit = patience::limit();
        let woken = self.grown.wait_timeout_while(state, limit, |state| !state.ended);
        let (state, late) = woken.expect("no panic while it is held");
        assert!(!late.timed_out(), "somebody keeps the pipe open");
        state.lines.clone()
    }
}
