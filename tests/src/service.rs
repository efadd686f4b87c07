//! The service under test, with a store, a socket and settings of its own.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::expect::Events;
use crate::manager::{Kept, Mailbox};
use crate::numbers::Numbers;
use crate::process::Process;
use crate::skim::{self, Skimmed};
use crate::{Observer, observer, ours, patience, schema, sys};

/// The folder of a service. It outlives the service, so that another one can continue there.
pub struct Place {
    folder: TempDir,
    dir: PathBuf,
}

impl Place {
    /// A new folder, with these settings.
    pub fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Other users may reach the socket: its own mode has to keep them out.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let dir = folder.path().join("records");
        let place = Self { folder, dir };
        place.set(settings);
        place
    }

    /// The same, with the store in another folder.
    pub fn with_store_in(mut self, dir: &Path) -> Self {
        dir.clone_into(&mut self.dir);
        self
    }

    /// The folder of all its files.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The service's socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("observer.sock")
    }

    /// Writes other settings.
    pub fn set(&self, settings: &str) {
        fs::write(self.path().join("observer.toml"), settings).expect("room for it");
    }

    /// The paths, as options.
    pub fn flags(&self) -> [String; 6] {
        let text = |path: PathBuf| path.into_os_string().into_string().expect("made of ASCII");
        let config = text(self.path().join("observer.toml"));
        ["--dir", "--socket", "--config"]
            .map(str::to_owned)
            .into_iter()
            .zip([text(self.dir.clone()), text(self.socket()), config])
            .flat_map(|(flag, value)| [flag, value])
            .collect::<Vec<_>>()
            .try_into()
            .expect("three flags with a value each")
    }

    /// A command that uses these paths.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = observer::command(words);
        command.args(self.flags()).stdin(Stdio::null());
        command
    }

    /// Runs such a command to its end.
    pub fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("observer runs")
    }

    /// Runs such a command, which must succeed, and returns its standard output.
    pub fn text(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {stderr}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// All stored events.
    pub fn stored(&self) -> Stored {
        Stored::read(&self.text(&["log", "--json"]))
    }

    /// Asserts that `verify` succeeds. Returns what `verify --json` prints.
    pub fn verified(&self) -> Value {
        let output = self.output(&["verify", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{report:#}\n{stderr}");
        assert_eq!(report["faults"], serde_json::json!([]));
        report
    }

    /// Sorted names of the store's files.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).expect("the store is there");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("readable").file_name().into_string().expect("made of ASCII")
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    /// How many segments are compressed.
    pub fn compressed(&self) -> usize {
        self.names().iter().filter(|name| name.ends_with(".jsonl.zst")).count()
    }

    /// Waits until at least so many segments are compressed, and all but the newest.
    pub fn wait_compressed(&self, least: usize) {
        let deadline = Instant::now() + patience::limit();
        loop {
            let names = self.names();
            let plain = names.iter().filter(|name| name.ends_with(".jsonl")).count();
            if plain == 1 && self.compressed() >= least {
                return;
            }
            assert!(Instant::now() < deadline, "not compressed: {names:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `observer tail` joined to the service.
    pub fn tail(&self, more: &[&str]) -> Observer {
        let socket = self.socket();
        let socket = socket.to_str().expect("made of ASCII");
        Observer::tail(&[&["--socket", socket], more].concat())
    }

    /// Starts a service and waits until it is ready.
    pub fn serve(&self, more: &[&str]) -> Service {
        let mut service = self.start(more);
        service.wait_ready();
        service
    }

    /// Starts a service.
    pub fn start(&self, more: &[&str]) -> Service {
        self.start_with(more, &[])
    }

    /// Starts a service with additional environment variables.
    pub fn start_with(&self, more: &[&str], environment: &[(&str, &str)]) -> Service {
        let path = self.path().join("notify");
        let notify = Mailbox::bind(&path, Kept::default());
        let mut command = self.command(&[&["serve"], more].concat());
        command.env("NOTIFY_SOCKET", &path).envs(environment.iter().copied());
        Service { process: Process::start(command), notify }
    }

    /// Starts a service that gets what the manager kept of the run before, and waits until it is ready.
    pub fn serve_again(&self, kept: Kept) -> Service {
        let path = self.path().join("notify");
        let mut command = self.command(&["serve"]);
        command.env("NOTIFY_SOCKET", &path);
        let command = kept.hand_to(&command);
        let notify = Mailbox::bind(&path, kept);
        let mut service = Service { process: Process::start(command), notify };
        service.wait_ready();
        service
    }
}

/// `observer serve`. Killed by its pid on drop.
pub struct Service {
    process: Process,
    notify: Mailbox,
}

impl Service {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Waits until it notifies systemd that it is ready.
    pub fn wait_ready(&mut self) {
        self.wait_notified("READY=1");
    }

    /// Waits for this line on the notify socket.
    pub fn wait_notified(&mut self, what: &str) {
        self.wait_notification(what, |line| line == what);
    }

    /// Waits for a line with this beginning on the notify socket.
    pub fn wait_notified_of(&mut self, beginning: &str) {
        self.wait_notification(beginning, |line| line.starts_with(beginning));
    }

    fn wait_notification(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + patience::limit();
        loop {
            match self.notify.receive() {
                Ok(text) => {
                    if text.lines().any(&is_it) {
                        return;
                    }
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Err(why) => panic!("the notify socket: {why}"),
            }
            let late = Instant::now() > deadline;
            assert!(!late, "no notification {what}{}", self.process.said());
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Waits for a line of its standard error that contains `word`, and returns the line.
    pub fn wait_said(&self, word: &str) -> String {
        let deadline = Instant::now() + patience::limit();
        let mut known = 0;
        loop {
            for line in self.process.err.from(known) {
                known += 1;
                let line = String::from_utf8_lossy(&line).into_owned();
                if line.contains(word) {
                    return line;
                }
            }
            let grown = self.process.err.grow_beyond(known, deadline);
            assert!(grown, "no line with {word:?}{}", self.process.said());
        }
    }

    /// Sends SIGTERM, expects an orderly stop with a notification, and returns its standard error.
    pub fn stop(mut self) -> Vec<String> {
        self.signal(libc::SIGTERM);
        let status = self.process.wait();
        assert!(status.success(), "it ended with {status}{}", self.process.said());
        self.wait_notified("STOPPING=1");
        let lines = self.process.err.to_the_end();
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Sends SIGTERM, expects an orderly stop, and returns what the manager keeps.
    pub fn stop_for_restart(mut self) -> Kept {
        self.signal(libc::SIGTERM);
        let status = self.process.wait();
        assert!(status.success(), "it ended with {status}{}", self.process.said());
        self.notify.into_the_rest().1
    }

    /// Sends SIGKILL, and returns what the manager keeps.
    pub fn kill_for_restart(mut self) -> Kept {
        self.signal(libc::SIGKILL);
        self.process.wait();
        self.notify.into_the_rest().1
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.process.wait();
    }

    /// Its resident memory and the peak, as the kernel reports them.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            let number: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
            number * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Whether it still runs.
    pub fn lives(&self) -> bool {
        sys::pidfd(self.pid()).is_some_and(|fd| !sys::ended_within(&fd, Duration::ZERO))
    }
}

/// The events of a store or a stream. Of other processes' events, only `seq` and kind are kept.
#[derive(Debug, Default)]
pub struct Stored {
    /// Events of the test's processes, sessions and losses, in order.
    pub events: Events,
    /// `seq` and kind of all events, also of other processes' events.
    pub all: Vec<(u64, String)>,
    /// How many events have no `seq`: none of a store.
    unnumbered: usize,
    numbers: Numbers,
}

impl Stored {
    /// From lines of JSON. Every line must be a whole event.
    pub fn read(text: &str) -> Self {
        let mut stored = Self::default();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
        for (n, line) in text.lines().enumerate() {
            match skim::skim(line.as_bytes()) {
                Err(why) => panic!("line {n} is no JSON: {why}"),
                Ok(Skimmed::Whole(event)) => stored.add(event),
                Ok(Skimmed::Other { seq, kind }) => stored.number(seq, kind),
            }
        }
        stored
    }

    fn add(&mut self, event: Value) {
        let ours = ours::concerns(&event);
        let seq = event["seq"].as_u64();
        let kind = event["kind"].as_str().expect("each event has a kind").to_owned();
        self.numbers.note(&event);
        self.number(seq, kind);
        if ours {
            // A thousand of a hundred thousand similar events are enough to check against the schema.
            if self.events.all.len() < 1000 {
                assert_eq!(schema::faults(&event, true), [""; 0]);
            }
            self.events.all.push(event);
        }
    }

    fn number(&mut self, seq: Option<u64>, kind: String) {
        match seq {
            Some(seq) => {
                self.numbers.add(seq);
                self.all.push((seq, kind));
            }
            None => self.unnumbered += 1,
        }
    }

    /// Asserts that each event has a number, and that none is missing or repeated.
    #[track_caller]
    pub fn assert_unbroken(&self) {
        assert_eq!(self.unnumbered, 0, "events without `seq`");
        self.numbers.assert_unbroken();
    }

    /// How many numbers are missing between the first and the last.
    #[track_caller]
    pub fn missing(&self) -> u64 {
        self.numbers.missing()
    }

    /// Asserts that each gap is followed by a `loss` of exactly its size.
    #[track_caller]
    pub fn assert_each_gap_is_reported(&self) {
        self.numbers.assert_each_gap_is_reported();
    }
}
