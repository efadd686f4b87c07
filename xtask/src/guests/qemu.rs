//! One guest, from power on to power off or its time limit.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::kernels::Kernel;
use super::report;

/// The last line of the init script.
const VERDICT: &str = "guest-exit-status: ";
/// What a crashed kernel prints on the console; a process that faults prints nothing there.
const BROKEN: [&str; 4] = ["Kernel panic", "Oops", "BUG: ", "general protection fault"];
/// Exit statuses of a test runner that emulation made fault: SIGILL, SIGBUS, SIGSEGV.
const STRUCK: [i32; 3] = [132, 135, 139];

/// A machine to boot.
pub(crate) struct Guest {
    pub(crate) kernel: Kernel,
    pub(crate) initrd: PathBuf,
    /// Folder of the kernel's messages.
    pub(crate) console: PathBuf,
    pub(crate) limit: Duration,
    /// How much memory it has.
    pub(crate) memory_mib: u32,
}

/// How a guest ended.
pub(crate) enum Ended {
    /// The script ran to its end.
    Finished {
        /// Its exit status.
        status: i32,
        /// What it printed.
        output: Vec<String>,
    },
    /// The guest itself crashed: no result of a test.
    Crashed {
        /// The line that says so.
        why: String,
    },
    /// Neither within the time limit.
    TimedOut {
        /// What the script had printed by then.
        output: Vec<String>,
    },
}

impl Guest {
    /// Boots, prints the script's output as it comes, and waits for the end. Prefixes lines with the kernel's version
    /// if `named`.
    pub(crate) fn run(&self, named: bool) -> Result<Ended> {
        let mut qemu = self.command(&format!("file:{}", self.console().display()), "stdio");
        let mut child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("qemu could not be started")?;
        let lines = lines_of(child.stdout.take().context("qemu has no output")?);
        let mut output = Vec::new();
        let ended = self.follow(&lines, named, &mut output);
        child.kill()?;
        child.wait()?;
        let console = fs::read(self.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let broken = console.lines().find(|line| BROKEN.iter().any(|mark| line.contains(mark)));
        Ok(match (broken, ended) {
            (Some(line), _) => Ended::Crashed { why: line.trim().to_owned() },
            (None, End::Verdict(status)) if STRUCK.contains(&status) => {
                Ended::Crashed { why: format!("the test runner itself faulted: status {status}") }
            }
            (None, End::Verdict(status)) => Ended::Finished { status, output },
            (None, End::Time) => Ended::TimedOut { output },
            (None, End::Silence) => Ended::Crashed {
                why: format!("it powered off without a result; see {}", self.console().display()),
            },
        })
    }

    /// The same machine with its console on the terminal.
    pub(crate) fn by_hand(&self) -> Command {
        self.command("stdio", "null")
    }

    fn command(&self, console: &str, output: &str) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]);
        qemu.args(["-m", &self.memory_mib.to_string()]);
        qemu.args(["-display", "none", "-nodefaults", "-no-reboot", "-monitor", "none"]);
        qemu.args(["-serial", console, "-serial", output]);
        qemu.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(&self.initrd);
        qemu.args(["-append", "console=ttyS0 panic=-1 quiet"]);
        qemu
    }

    fn console(&self) -> PathBuf {
        self.console.join(format!("console-{}.log", self.kernel.version))
    }

    /// Reads until the exit status, the end of output, or the time limit.
    fn follow(&self, lines: &Receiver<String>, named: bool, output: &mut Vec<String>) -> End {
        let name = named.then_some(self.kernel.version.as_str());
        let deadline = Instant::now() + self.limit;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    // The script's last line may have no line end: then the exit status follows on the same line.
                    if let Some((last, status)) = line.split_once(VERDICT) {
                        if !last.is_empty() {
                            report::show(name, last);
                            output.push(last.to_owned());
                        }
                        return End::Verdict(status.trim().parse().unwrap_or(-1));
                    }
                    report::show(name, &line);
                    output.push(line);
                }
                Err(RecvTimeoutError::Timeout) => return End::Time,
                Err(RecvTimeoutError::Disconnected) => return End::Silence,
            }
        }
    }
}

enum End {
    Verdict(i32),
    Time,
    Silence,
}

/// Reads on its own thread, so that the caller can wait with a time limit.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    receiver
}
