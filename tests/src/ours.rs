//! The processes that a test started. It looks at no other process's events.
//!
//! Pids are reused, within seconds on a machine where others fork without pause. So a pid counts only for a process
//! that was started when the test started it, and a parent only for children that were started before it was reaped.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

/// The user of the tests' floods, whom nobody else runs anything as.
pub const FLOODER: u32 = 61_010;

/// The observer converts the kernel's clock to the time of day, the test reads the time of day.
const SLACK: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Ours {
    pids: HashMap<u64, Vec<Life>>,
    strangers: HashSet<u64>,
}

/// One process that had the pid.
struct Life {
    /// A moment before it was started.
    before: SystemTime,
    /// A moment after it was started.
    after: SystemTime,
    /// A moment after it was reaped.
    reaped: Option<SystemTime>,
}

static OURS: LazyLock<Mutex<Ours>> = LazyLock::new(Mutex::default);

fn ours() -> MutexGuard<'static, Ours> {
    OURS.lock().expect("no panic while it is held")
}

/// Events about `pid`, which was started after `before`, and about its children belong to the test from now on.
pub fn add(pid: u32, before: SystemTime) {
    let life = Life { before, after: SystemTime::now(), reaped: None };
    ours().pids.entry(u64::from(pid)).or_default().push(life);
}

/// `pid` was reaped: a later process with this pid is a stranger.
pub fn reaped(pid: u32) {
    let now = SystemTime::now();
    if let Some(life) = ours().pids.get_mut(&u64::from(pid)).and_then(|lives| lives.last_mut()) {
        life.reaped.get_or_insert(now);
    }
}

/// Events about this child of the test process and its children belong to no test.
pub fn is_a_stranger(pid: u32) {
    ours().strangers.insert(u64::from(pid));
}

/// Forgets all added pids. Only between two tests.
pub fn forget_all() {
    ours().pids.clear();
}

/// Whether `pid` was added at any time, or is the test process.
pub fn may_be(pid: u64) -> bool {
    pid == u64::from(std::process::id()) || ours().pids.contains_key(&pid)
}

/// Whether an event is about a process that this test started, or about no process.
pub fn concerns(event: &Value) -> bool {
    let about_none = ["session", "loss"];
    let kind = event["kind"].as_str().unwrap_or_default();
    let ours = ours();
    let incident = event["pids"].as_array().into_iter().flatten().filter_map(Value::as_u64);
    about_none.contains(&kind)
        || (kind == "flood" && event["uid"] == FLOODER)
        || incident.into_iter().any(|pid| ours.pids.contains_key(&pid))
        || subjects(event).any(|process| ours.has(process))
}

/// The processes that an event is about. The victim may belong to the test when the sender does not.
fn subjects(event: &Value) -> impl Iterator<Item = &Value> {
    let one = ["process", "victim", "trigger"].into_iter().map(|key| &event[key]);
    let holders = event["holders"].as_array().into_iter().flatten();
    let sender = &event["cause"]["sender"];
    one.chain(holders.map(|holder| &holder["process"])).chain([sender])
}

impl Ours {
    /// Whether the test started this process or its parent.
    fn has(&self, process: &Value) -> bool {
        let this = u64::from(std::process::id());
        let (pid, parent) = (process["pid"].as_u64(), process["ppid"].as_u64());
        let parent = parent.or_else(|| process["parent"]["pid"].as_u64());
        if pid.is_some_and(|pid| self.strangers.contains(&pid)) {
            return false;
        }
        if [pid, parent].contains(&Some(this)) {
            return true;
        }
        let lives =
            |pid: Option<u64>| pid.and_then(|pid| self.pids.get(&pid)).into_iter().flatten();
        let (mut own, mut parents) = (lives(pid).peekable(), lives(parent).peekable());
        if own.peek().is_none() && parents.peek().is_none() {
            return false;
        }
        // Without a start time it counts.
        let Some(start) = start_of(process) else { return true };
        own.any(|life| life.began_at(start)) || parents.any(|life| life.could_fork_at(start))
    }
}

impl Life {
    fn began_at(&self, start: SystemTime) -> bool {
        self.before - SLACK <= start && start <= self.after + SLACK
    }

    fn could_fork_at(&self, start: SystemTime) -> bool {
        self.before - SLACK <= start && self.reaped.is_none_or(|reaped| start <= reaped + SLACK)
    }
}

fn start_of(process: &Value) -> Option<SystemTime> {
    let start: Timestamp = process["start_time"].as_str()?.parse().ok()?;
    Some(start.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exit(pid: u32, ppid: u32, start: SystemTime) -> Value {
        let start = Timestamp::try_from(start).expect("in range").to_string();
        json!({"kind": "exit", "process": {"pid": pid, "ppid": ppid, "start_time": start}})
    }

    #[test]
    fn pid_of_ours_that_somebody_else_has_now_is_a_stranger() {
        let now = SystemTime::now();
        let (pid, later) = (4_200_001, now + Duration::from_secs(5));
        let earlier = now - Duration::from_secs(5);
        assert!(!concerns(&exit(pid, 1, now)));
        add(pid, now);
        assert!(concerns(&exit(pid, 1, now)));
        assert!(!concerns(&exit(pid, 1, earlier)) && !concerns(&exit(pid, 1, later)));
        assert!(concerns(&json!({"kind": "exit", "process": {"pid": pid}})));
    }

    #[test]
    fn children_are_ours_until_their_parent_is_reaped() {
        let now = SystemTime::now();
        let (pid, child, later) = (4_200_002, 4_200_003, now + Duration::from_secs(5));
        add(pid, now);
        assert!(concerns(&exit(child, pid, now)) && concerns(&exit(child, pid, later)));
        reaped(pid);
        assert!(concerns(&exit(child, pid, now)) && !concerns(&exit(child, pid, later)));
    }

    #[test]
    fn child_of_the_test_process_is_ours_unless_it_is_said_to_be_a_stranger() {
        let (this, now) = (std::process::id(), SystemTime::now());
        let load = exit(4_200_004, this, now);
        assert!(concerns(&load));
        is_a_stranger(4_200_004);
        assert!(!concerns(&load));
        assert!(!concerns(&exit(4_200_005, 4_200_004, now)));
    }
}
