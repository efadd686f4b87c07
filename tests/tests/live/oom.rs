//! OOM kills, each in a cgroup of the test: the limit, the usage, the victim and the trigger. The trigger is never
//! named as the killer.

use observer_tests::{Cgroup, Events, Observer, Workload, assert_has, run, sys};
use serde_json::{Value, json};

crate::tests![
    own_limit needs MemoryCgroup,
    limit_of_an_ancestor needs MemoryCgroup,
    trigger_is_not_the_victim needs MemoryCgroup,
    oom_score_adj_of_the_victim needs MemoryCgroup,
    two_processes_with_shared_memory needs MemoryCgroup,
    memory_oom_group needs MemoryCgroupV2,
    sigkill_in_a_full_cgroup_is_not_an_oom_kill needs MemoryCgroup,
    victim_started_before_the_observer needs MemoryCgroup,
    kind_oom_only needs MemoryCgroup,
    exit_without_the_filtered_oom_event needs MemoryCgroup,
    whole_machine needs OwnMachine,
];

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 48 * MIB;

/// The `oom` event of that victim. Checks that its `exit` refers to it.
fn kill_of<'events>(events: &'events Events, victim: u32, limit_cgroup: &str) -> &'events Value {
    let about_it = |oom: &&Value| oom["victim"]["pid"] == victim;
    let ooms: Vec<_> = events.of_kind("oom").filter(about_it).collect();
    let [oom] = ooms[..] else {
        panic!("{} oom events about {victim}, not one; {events}", ooms.len());
    };
    let exit = events.only_exit_of(victim);
    let cause = json!({
        "type": "oom_kill",
        "oom_seq": oom["seq"],
        "limit_cgroup": limit_cgroup,
        "sender": null,
    });
    let status = json!({"signal": libc::SIGKILL, "shell_status": 137});
    assert_has(exit, &json!({"status": status, "cause": cause}));
    assert_eq!(exit["process"]["start_time"], oom["victim"]["start_time"]);
    oom
}

/// No cgroup has a limit: the machine runs out of memory.
fn whole_machine() {
    let mut observer = Observer::tail(&[]);
    let machine_bytes = sys::memory_bytes();
    let more = (2 * machine_bytes / MIB).to_string();
    let (hog, _) = run(["oom-adj", "1000", "hog", &more]);
    wait_for_kill(&mut observer, hog.pid());
    let events = observer.stop().events;
    let about_it = |oom: &&Value| oom["victim"]["pid"] == hog.pid();
    let oom = events.of_kind("oom").find(about_it).expect("waited for");
    let expected = json!({
        "scope": "system",
        "limit_cgroup": null,
        "limit_bytes": machine_bytes,
        "oom_score_adj": 1000,
    });
    assert_has(oom, &expected);
    let anon = bytes(&oom["memory"]["anon_rss_bytes"]);
    assert!((machine_bytes / 4..machine_bytes).contains(&anon), "{oom:#}");
    let cause = json!({
        "type": "oom_kill",
        "oom_seq": oom["seq"],
        "limit_cgroup": null,
        "sender": null,
    });
    assert_has(events.only_exit_of(hog.pid()), &json!({ "cause": cause }));
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a size in bytes, not {value}"))
}

/// Waits for both events, in either order.
fn wait_for_kill(observer: &mut Observer, victim: u32) {
    observer.exit_of(victim);
    let about_it = |event: &Value| event["kind"] == "oom" && event["victim"]["pid"] == victim;
    observer.wait_for("the oom event", about_it);
}

fn own_limit() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&[]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    wait_for_kill(&mut observer, hog.pid());
    let events = observer.stop().events;
    let oom = kill_of(&events, hog.pid(), &group.path);
    let expected = json!({
        "scope": "cgroup",
        "limit_cgroup": group.path,
        "limit_bytes": LIMIT,
        "oom_score_adj": 0,
        "victim": {"comm": "workload", "ppid": std::process::id()},
        "trigger": {"pid": hog.pid()},
    });
    assert_has(oom, &expected);
    let usage = bytes(&oom["usage_bytes"]);
    assert!((LIMIT - MIB..=LIMIT).contains(&usage), "{usage} used of {LIMIT}");
    let memory = &oom["memory"];
    let anon = bytes(&memory["anon_rss_bytes"]);
    assert!((LIMIT / 2..=LIMIT).contains(&anon), "{memory}");
    assert!(bytes(&memory["total_vm_bytes"]) >= 200 * MIB, "{memory}");
    assert!(bytes(&memory["page_table_bytes"]) > 0, "{memory}");
    bytes(&memory["file_rss_bytes"]);
    assert_eq!(bytes(&memory["shmem_rss_bytes"]), 0, "{memory}");
    // File pages charged to others are added.
    let peak = bytes(&events.only_exit_of(hog.pid())["peak_rss_bytes"]);
    assert!((anon..LIMIT + 16 * MIB).contains(&peak), "{peak} of {anon} anonymous");
}

/// The victim's cgroup has no limit: that of the cgroup two levels up is reached.
fn limit_of_an_ancestor() {
    let top = Cgroup::with_memory(LIMIT);
    let middle = top.child("middle");
    let bottom = middle.child("bottom");
    let mut observer = Observer::tail(&[]);
    let (hog, _) = run(["in-cgroup", bottom.arg(), "hog", "200"]);
    wait_for_kill(&mut observer, hog.pid());
    let events = observer.stop().events;
    let oom = kill_of(&events, hog.pid(), &top.path);
    let limit = json!({"scope": "cgroup", "limit_cgroup": top.path, "limit_bytes": LIMIT});
    assert_has(oom, &limit);
    let usage = bytes(&oom["usage_bytes"]);
    assert!((LIMIT - MIB..=LIMIT).contains(&usage), "{usage} used of {LIMIT}");
}

fn trigger_is_not_the_victim() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&["--all"]);
    let (mut parent, _) = run(["in-cgroup", group.arg(), "hog-beside-small", "40", "20"]);
    assert_eq!(parent.number("big_status"), 137);
    assert_eq!(parent.number("small_status"), 0);
    let (big, small) = (parent.pid_of("big_pid"), parent.pid_of("small_pid"));
    wait_for_kill(&mut observer, big);
    observer.exit_of(small);
    let events = observer.stop().events;
    let oom = kill_of(&events, big, &group.path);
    assert_has(oom, &json!({"trigger": {"pid": small}, "limit_bytes": LIMIT}));
    // The trigger is in `trigger`, and not in the cause.
    let cause = events.only_exit_of(big)["cause"].to_string();
    let mut words = cause.split(|letter: char| !letter.is_ascii_digit());
    assert!(!words.any(|word| word == small.to_string()), "{cause} names {small}, which asked");
    assert_has(events.only_exit_of(small), &json!({"cause": {"type": "exit_code"}}));
}

fn oom_score_adj_of_the_victim() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&[]);
    let (hog, _) = run(["in-cgroup", group.arg(), "oom-adj", "345", "hog", "200"]);
    wait_for_kill(&mut observer, hog.pid());
    let events = observer.stop().events;
    assert_has(kill_of(&events, hog.pid(), &group.path), &json!({"oom_score_adj": 345}));
}

/// Two processes share one memory: the kernel kills both and reports one.
fn two_processes_with_shared_memory() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&[]);
    let (mut hog, _) = run(["in-cgroup", group.arg(), "hog-shared", "200"]);
    let partner = hog.pid_of("partner_pid");
    let pids = [hog.pid(), partner];
    for pid in pids {
        observer.exit_of(pid);
    }
    observer.wait_for("the oom event", |event| event["kind"] == "oom");
    let events = observer.stop().events;
    let ooms: Vec<_> = events.of_kind("oom").collect();
    for pid in pids {
        let cause = &events.only_exit_of(pid)["cause"];
        assert_has(cause, &json!({"type": "oom_kill", "sender": null}));
        let its_own = |oom: &&&Value| oom["seq"] == cause["oom_seq"];
        assert_eq!(ooms.iter().filter(its_own).count(), 1, "{cause} joins no oom event; {events}");
    }
}

fn memory_oom_group() {
    let group = Cgroup::with_memory(LIMIT);
    group.set("memory.oom.group", "1");
    let mut observer = Observer::tail(&[]);
    let mut bystander = Workload::start_ready(["in-cgroup", group.arg(), "wait"]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    bystander.wait();
    for pid in [hog.pid(), bystander.pid()] {
        observer.exit_of(pid);
    }
    wait_for_kill(&mut observer, hog.pid());
    let events = observer.stop().events;
    kill_of(&events, hog.pid(), &group.path);
    let cause = json!({"type": "oom_kill", "limit_cgroup": group.path, "sender": null});
    assert_has(events.only_exit_of(bystander.pid()), &json!({ "cause": cause }));
}

/// SIGKILL from a process, in the same cgroup at almost the same time.
fn sigkill_in_a_full_cgroup_is_not_an_oom_kill() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&[]);
    let mut waiting = Workload::start_ready(["in-cgroup", group.arg(), "wait"]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    let (killer, _) = run(["send", "kill", "9", &waiting.pid().to_string()]);
    waiting.wait();
    observer.exit_of(waiting.pid());
    wait_for_kill(&mut observer, hog.pid());
    let events = observer.stop().events;
    kill_of(&events, hog.pid(), &group.path);
    let cause = json!({"type": "killed", "sender": {"pid": killer.pid()}, "oom_seq": null});
    assert_has(events.only_exit_of(waiting.pid()), &json!({ "cause": cause }));
}

fn victim_started_before_the_observer() {
    let group = Cgroup::with_memory(LIMIT);
    let mut hog = Workload::start(["in-cgroup", group.arg(), "hog", "40"]);
    assert_eq!(hog.number("touched"), 40);
    let mut observer = Observer::tail(&["--all"]);
    let (small, _) = run(["in-cgroup", group.arg(), "peak", "20", "0"]);
    hog.wait();
    wait_for_kill(&mut observer, hog.pid());
    let events = observer.stop().events;
    let oom = kill_of(&events, hog.pid(), &group.path);
    let args = &oom["victim"]["args"];
    assert_eq!(args[3], "hog", "{oom:#}");
    assert_has(oom, &json!({"trigger": {"pid": small.pid()}}));
}

fn kind_oom_only() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&["--kind", "oom"]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    let pid = hog.pid();
    observer.wait_for("the oom event", |event| event["victim"]["pid"] == pid);
    let events = observer.stop().events;
    assert_eq!(events.of_kind("oom").count(), 1, "{events}");
    assert_eq!(events.of_kind("exit").count(), 0, "{events}");
}

/// The cause is equally certain, and `oom_seq` is not the number of another event.
fn exit_without_the_filtered_oom_event() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&["--kind", "exit"]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    observer.exit_of(hog.pid());
    let finished = observer.stop();
    let exit = finished.events.only_exit_of(hog.pid());
    assert_eq!(finished.events.of_kind("oom").count(), 0);
    let cause = json!({"type": "oom_kill", "limit_cgroup": group.path, "sender": null});
    assert_has(exit, &json!({ "cause": cause }));
    if let Some(seq) = exit["cause"]["oom_seq"].as_u64() {
        assert!(
            !finished.numbers.all.contains(&seq),
            "event {seq} is another one; {}",
            finished.events
        );
    }
}
