//! OOM kills, each in a cgroup of the test's own: whose limit, how much was used, who died, who
//! asked; and never blamed on the one who asked.

use observer_tests::{Cgroup, Observer, Story, Workload, assert_has, run, sys};
use serde_json::{Value, json};

crate::tests![
    own_limit needs MemoryCgroup,
    limit_of_an_ancestor needs MemoryCgroup,
    large_victim_for_what_a_small_one_asked needs MemoryCgroup,
    score_of_the_victim needs MemoryCgroup,
    partner_on_the_same_memory needs MemoryCgroup,
    a_group_that_dies_together needs MemoryCgroupV2,
    killed_by_hand_in_a_group_without_room needs MemoryCgroup,
    victim_older_than_the_observer needs MemoryCgroup,
    only_what_was_asked_for needs MemoryCgroup,
    death_without_the_oom_event_that_was_left_out needs MemoryCgroup,
    whole_machine needs OwnMachine,
];

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 48 * MIB;

/// The `oom` event about that victim, with the death that it caused joined to it.
fn kill_of<'story>(story: &'story Story, victim: u32, limit_cgroup: &str) -> &'story Value {
    let about_it = |oom: &&Value| oom["victim"]["pid"] == victim;
    let ooms: Vec<_> = story.of_kind("oom").filter(about_it).collect();
    let [oom] = ooms[..] else {
        panic!("{} oom events about {victim}, not one; {story}", ooms.len());
    };
    let exit = story.only_exit_of(victim);
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

/// No cgroup has a limit: the machine's memory is short.
fn whole_machine() {
    let mut observer = Observer::tail(&[]);
    let machine_bytes = sys::memory_bytes();
    let more = (2 * machine_bytes / MIB).to_string();
    let (hog, _) = run(["oom-adj", "1000", "hog", &more]);
    wait_for_kill(&mut observer, hog.pid());
    let story = observer.stop().story;
    let about_it = |oom: &&Value| oom["victim"]["pid"] == hog.pid();
    let oom = story.of_kind("oom").find(about_it).expect("waited for");
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
    assert_has(story.only_exit_of(hog.pid()), &json!({ "cause": cause }));
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a size in bytes, not {value}"))
}

/// Waits for both events, which may come in either order.
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
    let story = observer.stop().story;
    let oom = kill_of(&story, hog.pid(), &group.path);
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
    // Pages of files, which others paid for, come on top.
    let peak = bytes(&story.only_exit_of(hog.pid())["peak_rss_bytes"]);
    assert!((anon..LIMIT + 16 * MIB).contains(&peak), "{peak} of {anon} anonymous");
}

/// The victim's own group has no limit: that of the group two levels up is full.
fn limit_of_an_ancestor() {
    let top = Cgroup::with_memory(LIMIT);
    let middle = top.child("middle");
    let bottom = middle.child("bottom");
    let mut observer = Observer::tail(&[]);
    let (hog, _) = run(["in-cgroup", bottom.arg(), "hog", "200"]);
    wait_for_kill(&mut observer, hog.pid());
    let story = observer.stop().story;
    let oom = kill_of(&story, hog.pid(), &top.path);
    let limit = json!({"scope": "cgroup", "limit_cgroup": top.path, "limit_bytes": LIMIT});
    assert_has(oom, &limit);
    let usage = bytes(&oom["usage_bytes"]);
    assert!((LIMIT - MIB..=LIMIT).contains(&usage), "{usage} used of {LIMIT}");
}

fn large_victim_for_what_a_small_one_asked() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&["--all"]);
    let (mut parent, _) = run(["in-cgroup", group.arg(), "hog-beside-small", "40", "20"]);
    assert_eq!(parent.number("big_status"), 137);
    assert_eq!(parent.number("small_status"), 0);
    let (big, small) = (parent.pid_of("big_pid"), parent.pid_of("small_pid"));
    wait_for_kill(&mut observer, big);
    observer.exit_of(small);
    let story = observer.stop().story;
    let oom = kill_of(&story, big, &group.path);
    assert_has(oom, &json!({"trigger": {"pid": small}, "limit_bytes": LIMIT}));
    // The one who asked appears as who asked, and nowhere near the cause.
    let cause = story.only_exit_of(big)["cause"].to_string();
    let mut words = cause.split(|letter: char| !letter.is_ascii_digit());
    assert!(!words.any(|word| word == small.to_string()), "{cause} names {small}, which asked");
    assert_has(story.only_exit_of(small), &json!({"cause": {"type": "exit_code"}}));
}

fn score_of_the_victim() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&[]);
    let (hog, _) = run(["in-cgroup", group.arg(), "oom-adj", "345", "hog", "200"]);
    wait_for_kill(&mut observer, hog.pid());
    let story = observer.stop().story;
    assert_has(kill_of(&story, hog.pid(), &group.path), &json!({"oom_score_adj": 345}));
}

/// Two processes, one memory: the kernel kills both, and says so of one.
fn partner_on_the_same_memory() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&[]);
    let (mut hog, _) = run(["in-cgroup", group.arg(), "hog-shared", "200"]);
    let partner = hog.pid_of("partner_pid");
    let pids = [hog.pid(), partner];
    for pid in pids {
        observer.exit_of(pid);
    }
    observer.wait_for("the oom event", |event| event["kind"] == "oom");
    let story = observer.stop().story;
    let ooms: Vec<_> = story.of_kind("oom").collect();
    for pid in pids {
        let cause = &story.only_exit_of(pid)["cause"];
        assert_has(cause, &json!({"type": "oom_kill", "sender": null}));
        let its_own = |oom: &&&Value| oom["seq"] == cause["oom_seq"];
        assert_eq!(ooms.iter().filter(its_own).count(), 1, "{cause} joins no oom event; {story}");
    }
}

fn a_group_that_dies_together() {
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
    let story = observer.stop().story;
    kill_of(&story, hog.pid(), &group.path);
    let cause = json!({"type": "oom_kill", "limit_cgroup": group.path, "sender": null});
    assert_has(story.only_exit_of(bystander.pid()), &json!({ "cause": cause }));
}

/// A death in the same group, with the same status, at almost the same time, by a hand.
fn killed_by_hand_in_a_group_without_room() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&[]);
    let mut waiting = Workload::start_ready(["in-cgroup", group.arg(), "wait"]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    let (killer, _) = run(["send", "kill", "9", &waiting.pid().to_string()]);
    waiting.wait();
    observer.exit_of(waiting.pid());
    wait_for_kill(&mut observer, hog.pid());
    let story = observer.stop().story;
    kill_of(&story, hog.pid(), &group.path);
    let cause = json!({"type": "killed", "sender": {"pid": killer.pid()}, "oom_seq": null});
    assert_has(story.only_exit_of(waiting.pid()), &json!({ "cause": cause }));
}

fn victim_older_than_the_observer() {
    let group = Cgroup::with_memory(LIMIT);
    let mut hog = Workload::start(["in-cgroup", group.arg(), "hog", "40"]);
    assert_eq!(hog.number("touched"), 40);
    let mut observer = Observer::tail(&["--all"]);
    let (small, _) = run(["in-cgroup", group.arg(), "peak", "20", "0"]);
    hog.wait();
    wait_for_kill(&mut observer, hog.pid());
    let story = observer.stop().story;
    let oom = kill_of(&story, hog.pid(), &group.path);
    let args = &oom["victim"]["args"];
    assert_eq!(args[3], "hog", "{oom:#}");
    assert_has(oom, &json!({"trigger": {"pid": small.pid()}}));
}

fn only_what_was_asked_for() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&["--kind", "oom"]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    let pid = hog.pid();
    observer.wait_for("the oom event", |event| event["victim"]["pid"] == pid);
    let story = observer.stop().story;
    assert_eq!(story.of_kind("oom").count(), 1, "{story}");
    assert_eq!(story.of_kind("exit").count(), 0, "{story}");
}

/// The cause is as certain as ever, and `oom_seq` is not the number of some other event.
fn death_without_the_oom_event_that_was_left_out() {
    let group = Cgroup::with_memory(LIMIT);
    let mut observer = Observer::tail(&["--kind", "exit"]);
    let (hog, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    observer.exit_of(hog.pid());
    let finished = observer.stop();
    let exit = finished.story.only_exit_of(hog.pid());
    assert_eq!(finished.story.of_kind("oom").count(), 0);
    let cause = json!({"type": "oom_kill", "limit_cgroup": group.path, "sender": null});
    assert_has(exit, &json!({ "cause": cause }));
    if let Some(seq) = exit["cause"]["oom_seq"].as_u64() {
        assert!(!finished.numbers.all.contains(&seq), "event {seq} is another one; {}", finished.story);
    }
}
