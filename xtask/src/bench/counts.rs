//! Measurements without a comparison: memory, wake-ups at rest, and a reader that is stopped.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::contestants::{TAIL, TAIL_ALL, observer};
use super::overhead::Binaries;
use super::service::Place;
use super::tool::{Said, Tool};
use super::{load, programs, sys};
use crate::talk;

/// How many deaths come while the reader is stopped, on each of two workers.
const FROZEN: u64 = 20_000;
const IDLE: Duration = Duration::from_secs(10);

/// A reader that is stopped.
pub(crate) struct Frozen {
    pub(crate) truth: u64,
    pub(crate) said: Said,
    pub(crate) rate: u64,
}

/// A tool at rest.
pub(crate) struct Rest {
    pub(crate) tool: String,
    pub(crate) resident_kib: u64,
    /// Of it, the rings, which are kernel memory and are in `map_bytes` too.
    pub(crate) rings_kib: u64,
    pub(crate) peak_kib: u64,
    pub(crate) map_bytes: u64,
    /// In ten seconds.
    pub(crate) wakeups: u64,
    pub(crate) cpu_us: u64,
    /// Lines that it wrote meanwhile, about other deaths on this machine.
    pub(crate) events: usize,
}

/// SIGSTOP, a storm, SIGCONT: events and losses must add up to the deaths.
pub(crate) fn frozen(binaries: &Binaries) -> Result<Frozen> {
    talk::step("a reader that is stopped through a storm");
    let running = observer(&binaries.observer, TAIL_ALL, &["--all"]).start()?;
    sys::signal(running.pid(), libc::SIGSTOP)?;
    let taken = load::run(&binaries.workload, "fork-exit", FROZEN);
    sys::signal(running.pid(), libc::SIGCONT)?;
    let taken = taken?;
    running.settle();
    let said = running.stop()?;
    let rate = taken.deaths * 1_000_000_000 / taken.nanoseconds.max(1);
    talk::note(&format!(
        "{} died, {} a second: {} reported, {} counted as lost",
        taken.deaths, rate, said.deaths, said.lost
    ));
    Ok(Frozen { truth: taken.deaths, said, rate })
}

/// `tail` and `serve`, five seconds after they began.
pub(crate) fn rest(binaries: &Binaries) -> Result<Vec<Rest>> {
    talk::step("at rest");
    let place = Place::new()?;
    let tools = [observer(&binaries.observer, TAIL, &[]), place.serve(&binaries.observer)];
    tools.iter().map(|tool| rest_of(tool, &place.record())).collect()
}

fn rest_of(tool: &Tool, record: &Path) -> Result<Rest> {
    let running = tool.start()?;
    let pid = running.pid();
    sleep(Duration::from_secs(5));
    let (events, cpu, wakeups) =
        (running.lines()? + lines(record), sys::cpu_ns(pid), switches(pid));
    sleep(IDLE);
    let rest = Rest {
        tool: tool.name.clone(),
        wakeups: switches(pid).saturating_sub(wakeups),
        cpu_us: (sys::cpu_ns(pid) - cpu) / 1000,
        events: running.lines()? + lines(record) - events,
        resident_kib: status(pid, "VmRSS"),
        peak_kib: status(pid, "VmHWM"),
        rings_kib: rings_kib(pid),
        map_bytes: programs::map_bytes(pid),
    };
    running.stop()?;
    talk::note(&format!(
        "{:<28} {} KiB resident, {} of it rings; peak {}; maps {} KiB; in 10 s {} wake-ups, {} us, {} events",
        rest.tool,
        rest.resident_kib,
        rest.rings_kib,
        rest.peak_kib,
        rest.map_bytes >> 10,
        rest.wakeups,
        rest.cpu_us,
        rest.events,
    ));
    Ok(rest)
}

/// Lines of all files of a folder.
fn lines(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let texts = entries.flatten().filter_map(|entry| fs::read(entry.path()).ok());
    texts.map(|text| text.split(|byte| *byte == b'\n').count() - 1).sum()
}

/// A number of `/proc/PID/status`.
pub(crate) fn status(pid: u32, key: &str) -> u64 {
    value(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), key)
}

fn value(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

/// Voluntary context switches of all threads of the process.
fn switches(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let texts = tasks.flatten().map(|task| fs::read_to_string(task.path().join("status")));
    texts.flatten().map(|text| value(&text, "voluntary_ctxt_switches")).sum()
}

/// Rings are mapped, so that the kernel counts them as resident.
fn rings_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut ring, mut sum) = (false, 0);
    for line in text.lines() {
        if line.split_whitespace().next().is_some_and(|word| word.contains('-')) {
            ring = line.contains("bpf-map");
        } else if ring && line.starts_with("Rss:") {
            sum += value(line, "Rss");
        }
    }
    sum
}
