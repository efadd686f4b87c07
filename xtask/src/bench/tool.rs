//! What is measured: observer, minimal programs, other tools.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{load, sys};

/// How a tool signals that it is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// By this text in its output.
    Text(&'static str),
    /// It does not: wait so long.
    After(Duration),
}

/// A command that runs beside a load.
pub(crate) struct Tool {
    /// As the table names it.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) words: Vec<String>,
    pub(crate) ready: Ready,
    /// The signal that ends it: bpftrace handles SIGINT only.
    pub(crate) end: i32,
    /// It prints an event of observer for every death.
    pub(crate) tells_all: bool,
}

impl Tool {
    pub(crate) fn new(name: &str, program: &Path, words: &[&str], ready: Ready) -> Self {
        let program = program.to_string_lossy().into_owned();
        let words = [program].into_iter().chain(words.iter().map(|&word| word.to_owned()));
        Self {
            name: name.to_owned(),
            words: words.collect(),
            ready,
            end: libc::SIGTERM,
            tells_all: false,
        }
    }

    /// Starts it with its output in a file, and waits until it is ready.
    pub(crate) fn start(&self) -> Result<Running> {
        let out = scratch().join(format!("observer-bench-{}.out", std::process::id()));
        let file = File::create(&out).with_context(|| out.display().to_string())?;
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("{} could not start", self.name))?;
        let mut running = Running { child, out, end: self.end };
        match self.ready {
            Ready::After(time) => sleep(time),
            Ready::Text(text) => {
                running.wait_for(text).with_context(|| self.name.clone())?;
                // The first scan of all descriptors is not part of the load.
                sleep(Duration::from_millis(150));
            }
        }
        if let Some(status) = running.child.try_wait()? {
            bail!("{} ended at once: {status}", self.name);
        }
        Ok(running)
    }
}

/// A folder in memory, if there is one.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A running tool. Killed on drop.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    end: i32,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_for(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if fs::read_to_string(&self.out)?.contains(text) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("ended before it was ready: {status}");
            }
            sleep(Duration::from_millis(10));
        }
        bail!("not ready within 20 s")
    }

    /// Waits until it uses less than 1 ms of processor time in 100 ms; two seconds at most, since other deaths on the
    /// machine keep it busy.
    pub(crate) fn settle(&self) {
        let mut before = sys::cpu_ns(self.pid());
        for _ in 0..20 {
            sleep(Duration::from_millis(100));
            let now = sys::cpu_ns(self.pid());
            if now - before < 1_000_000 {
                break;
            }
            before = now;
        }
    }

    /// Lines it has written.
    pub(crate) fn lines(&self) -> Result<usize> {
        Ok(fs::read(&self.out)?.split(|byte| *byte == b'\n').count() - 1)
    }

    /// Ends it and reads its output.
    pub(crate) fn stop(mut self) -> Result<Said> {
        self.end()?;
        Said::read(&self.out)
    }

    /// Ends it, and hands each line of its output to `tally`.
    pub(crate) fn count<T: Default>(
        mut self,
        mut tally: impl FnMut(&str, &mut T) -> Result<()>,
    ) -> Result<T> {
        self.end()?;
        let mut counted = T::default();
        for line in BufReader::new(File::open(&self.out)?).split(b'\n') {
            tally(&String::from_utf8_lossy(&line?), &mut counted)?;
        }
        Ok(counted)
    }

    fn end(&mut self) -> Result<()> {
        sys::signal(self.pid(), self.end)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("it did not end within 10 s after the signal");
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // If it can't be killed, it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.out);
    }
}

/// Events of observer about the loads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    /// Deaths of the loads' processes.
    pub(crate) deaths: u64,
    /// Refused binds of the loads' processes.
    pub(crate) refused: u64,
    /// Deaths and binds of any process that were counted as lost.
    pub(crate) lost: u64,
}

impl Said {
    /// Counts the lines of a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let ours = format!(r#""comm":"{}"#, load::mark());
        let mut said = Self::default();
        for line in BufReader::new(File::open(path)?).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if line.contains(r#""kind":"loss""#) {
                let event: serde_json::Value = serde_json::from_str(&line)?;
                let lost = event["lost"].as_object().into_iter().flat_map(|lost| lost.iter());
                // A lost note of a sender is no lost death.
                let lost = lost.filter(|(kind, _)| *kind != "signal");
                said.lost += lost.filter_map(|(_, count)| count.as_u64()).sum::<u64>();
            } else if line.contains(&ours) && !line.contains(r#""kind":"incident""#) {
                said.deaths += u64::from(line.contains(r#""kind":"exit""#));
                if line.contains(r#""kind":"bind""#) {
                    let event: serde_json::Value = serde_json::from_str(&line)?;
                    said.refused += 1 + event["repeats"].as_u64().unwrap_or(0);
                }
            }
        }
        Ok(said)
    }
}
