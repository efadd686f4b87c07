//! A tool's eBPF programs with their run time, and the size of its maps.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process;

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// While this lives, the kernel counts runs, which adds some 50 ns to each: nothing else is timed meanwhile.
pub(crate) struct Counting(String);

impl Counting {
    pub(crate) fn start() -> Result<Self> {
        let before = fs::read_to_string(STATS).context(STATS)?;
        fs::write(STATS, "1").context(STATS)?;
        Ok(Self(before))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Could be set, so it can be reset.
        let _ = fs::write(STATS, self.0.trim());
    }
}

/// Run time of one program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) name: String,
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

/// Programs of the process, by id.
pub(crate) fn of(pid: u32) -> BTreeMap<u64, Cost> {
    let mut found = BTreeMap::new();
    for info in descriptors(pid) {
        // A link has the id of its program too, but no count.
        if let (Some(id), Some(runs), Some(nanoseconds)) =
            (number(&info, "prog_id"), number(&info, "run_cnt"), number(&info, "run_time_ns"))
        {
            found.insert(id, Cost { name: format!("program {id}"), runs, nanoseconds });
        }
    }
    for (id, name) in names() {
        if let Some(cost) = found.get_mut(&id) {
            cost.name = name;
        }
    }
    found
}

/// Increase since `before`, without programs that did not run.
pub(crate) fn since(before: &BTreeMap<u64, Cost>, mut now: BTreeMap<u64, Cost>) -> Vec<Cost> {
    for (id, cost) in &mut now {
        if let Some(before) = before.get(id) {
            cost.runs -= before.runs;
            cost.nanoseconds -= before.nanoseconds;
        }
    }
    now.into_values().filter(|cost| cost.runs > 0).collect()
}

/// Bytes of all maps of the process.
pub(crate) fn map_bytes(pid: u32) -> u64 {
    let maps = descriptors(pid)
        .into_iter()
        .filter_map(|info| Some((number(&info, "map_id")?, number(&info, "memlock")?)));
    maps.collect::<BTreeMap<_, _>>().values().sum()
}

fn descriptors(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect()
}

fn number(info: &str, key: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

/// Names of all programs; empty without bpftool.
fn names() -> Vec<(u64, String)> {
    if process::find("bpftool").is_none() {
        return Vec::new();
    }
    let output = Command::new("bpftool").args(["-j", "prog", "show"]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let programs: Vec<Value> = serde_json::from_slice(&text).unwrap_or_default();
    let named =
        |program: &Value| Some((program["id"].as_u64()?, program["name"].as_str()?.to_owned()));
    programs.iter().filter_map(named).collect()
}
