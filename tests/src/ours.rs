//! Which processes a test started: the only ones whose events it may look at.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard};

use serde_json::Value;

static PIDS: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

fn pids() -> MutexGuard<'static, HashSet<u64>> {
    PIDS.lock().expect("no panic while it is held")
}

/// From now on, events about `pid` and about its children are ours.
pub fn add(pid: u32) {
    pids().insert(u64::from(pid));
}

/// Forgets all pids, for they come round again. Between two tests only.
pub fn forget_all() {
    pids().clear();
}

/// Whether an event is about a process that this test started, or about none at all.
pub fn concerns(event: &Value) -> bool {
    let about_none = ["session", "loss"];
    let kind = event["kind"].as_str().unwrap_or_default();
    let pids = pids();
    let story = event["pids"].as_array().into_iter().flatten().filter_map(Value::as_u64);
    about_none.contains(&kind)
        || story.into_iter().any(|pid| pids.contains(&pid))
        || subjects(event).any(|process| is_one_of(&pids, process))
}

/// The processes that an event is about. A killer's victim may be ours while the killer is not.
fn subjects(event: &Value) -> impl Iterator<Item = &Value> {
    let one = ["process", "victim", "trigger"].into_iter().map(|key| &event[key]);
    let holders = event["holders"].as_array().into_iter().flatten();
    let sender = &event["cause"]["sender"];
    one.chain(holders.map(|holder| &holder["process"])).chain([sender])
}

fn is_one_of(pids: &HashSet<u64>, process: &Value) -> bool {
    let this = u64::from(std::process::id());
    let family = [&process["pid"], &process["ppid"], &process["parent"]["pid"]];
    family.into_iter().filter_map(Value::as_u64).any(|pid| pid == this || pids.contains(&pid))
}
