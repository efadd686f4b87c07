//! The machine of a measurement.

use std::fs;

use crate::process;

/// Processors, memory and kernel in one line.
pub(crate) fn describe() -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let gib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cpus} x {cpu}, {gib} GiB of memory, Linux {}", word("/proc/sys/kernel/osrelease"))
}

/// The load average of the last minute.
pub(crate) fn load() -> f64 {
    word("/proc/loadavg").split(' ').next().and_then(|one| one.parse().ok()).unwrap_or(0.0)
}

/// Today; empty if there is no `date`.
pub(crate) fn date() -> String {
    process::read(std::process::Command::new("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_default()
}

fn word(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
