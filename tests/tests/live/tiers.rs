//! Function tracing, and what is left where the kernel refuses it: one workload, two observers beside it, one story.
//!
//! What only one of them can know is little, and each test says what:
//! - before Linux 6.16, what a dead process had in its memory: arguments, executable, peak (`LOST_MEMORY`);
//! - where `mark_victim` hands over a number, the OOM kill itself: its death is told, with the same cause;
//! - binds by io_uring and by 32-bit programs: `ways.rs` has those.

use observer_tests::{Cgroup, Observer, Story, Workload, assert_has, run, tiers};
use serde_json::{Map, Value, json};

crate::tests![
    no_function_is_traced,
    deaths needs Trampolines,
    oom_kills needs Trampolines and MemoryCgroup,
    binds_and_listens needs Trampolines and BindCalls,
];

/// Without function tracing, deaths are seen before Linux 6.16 when the memory is gone already.
const LOST_MEMORY: [&str; 3] = ["args", "exe", "peak_rss_bytes"];

/// Each observer reads the clock for itself, and numbers what it tells.
const ITS_OWN: [&str; 3] = ["seq", "oom_seq", "evidence"];

/// When something happened or was noticed, and what is worked out from that.
const TIMES: [&str; 7] = [
    "time",
    "start_time",
    "since",
    "lifetime_seconds",
    "served_seconds",
    "late_seconds",
    "free_in_seconds",
];

/// Two observers of one kernel, with function tracing and without.
struct Pair([Observer; 2]);

impl Pair {
    fn tail() -> Self {
        Self([Observer::tail(&["--all"]), Observer::tail(&["--all", tiers::WITHOUT])])
    }

    /// Waits until both have told it.
    fn event_of(&mut self, kind: &str, pid: u32) {
        let it = |event: &Value| event["kind"] == kind && event["process"]["pid"] == pid;
        for observer in &mut self.0 {
            observer.wait_for(&format!("{kind} of {pid}"), it);
        }
    }

    fn stop(self) -> [Story; 2] {
        let stories = self.0.map(|observer| observer.stop().story);
        for story in &stories {
            assert_eq!(story.lost(), 0, "{story}");
        }
        stories
    }
}

/// Holds when both told the same of that process: as many events of the same kinds, with the same in them.
fn assert_same(stories: &[Story; 2], pid: u32) {
    let [with, without] = stories.each_ref().map(|story| told_of(story, pid));
    let kinds = |events: &[Value]| -> Vec<_> { events.iter().map(|e| e["kind"].clone()).collect() };
    assert_eq!(kinds(&with), kinds(&without), "{}\n{}", stories[0], stories[1]);
    assert!(!with.is_empty(), "nothing is told of {pid}");
    for (mut with, mut without) in with.into_iter().zip(without) {
        let lost: &[&str] =
            if tiers::with().has("fentry/taskstats_exit") { &LOST_MEMORY } else { &[] };
        if with["kind"] == "release" {
            // One sees the socket being closed, when the process has given up the rest; the other sees the death.
            for process in [&mut with["process"], &mut without["process"]] {
                let process = process.as_object_mut().expect("who gave it up is known");
                process.retain(|key, _| !["args", "exe", "netns", "missing"].contains(&&**key));
            }
        }
        leave_out(&mut with, &mut without, lost);
        // Both ways, so that neither has more than the other.
        assert_has(&without, &with);
        assert_has(&with, &without);
    }
}

/// Of that process, or of it as a victim. Those of one moment may come in either order.
fn told_of(story: &Story, pid: u32) -> Vec<Value> {
    let kinds = ["bind", "listen", "oom", "exit", "release"];
    let of_kind = |kind| {
        let is_it = move |e: &&Value| e["process"]["pid"] == pid || e["victim"]["pid"] == pid;
        story.of_kind(kind).filter(is_it).cloned()
    };
    kinds.into_iter().flat_map(of_kind).collect()
}

/// Takes out of both what each has for itself, and what the second says that it could not learn, if that is in `lost`.
/// Of a time it is left that there is one.
fn leave_out(with: &mut Value, without: &mut Value, lost: &[&str]) {
    match (with, without) {
        (Value::Object(with), Value::Object(without)) => {
            let missing = without.get("missing").and_then(Value::as_object).cloned();
            for key in missing.unwrap_or_default().keys() {
                if lost.contains(&key.as_str()) && with.contains_key(key) {
                    with.remove(key);
                    forgive(without, key);
                }
            }
            for object in [&mut *with, &mut *without] {
                object.retain(|key, _| !ITS_OWN.contains(&key.as_str()));
                for time in TIMES {
                    object.entry(time).and_modify(|value| *value = json!("a time"));
                }
            }
            for (key, value) in with {
                if let Some(other) = without.get_mut(key) {
                    leave_out(value, other, lost);
                }
            }
        }
        (Value::Array(with), Value::Array(without)) => {
            for (with, without) in with.iter_mut().zip(without) {
                leave_out(with, without, lost);
            }
        }
        _ => {}
    }
}

/// The reason goes with what is missing.
fn forgive(object: &mut Map<String, Value>, key: &str) {
    if let Some(reasons) = object.get_mut("missing").and_then(Value::as_object_mut) {
        reasons.remove(key);
        if reasons.is_empty() {
            object.remove("missing");
        }
    }
}

/// `doctor` says what is left, and `tail` uses just that.
fn no_function_is_traced() {
    let observer = Observer::tail(&[tiers::WITHOUT]);
    let story = observer.stop().story;
    let hooks = story.events[0]["hooks"].as_array().expect("a session lists its hooks");
    let attached = hooks.iter().filter(|hook| hook["attached"] == true);
    let attached: Vec<_> = attached.filter_map(|hook| hook["hook"].as_str()).collect();
    assert_eq!(attached, tiers::without().attached());
    assert!(attached.contains(&"tp_btf/sched_process_exit"), "{attached:?}");
    let traced =
        attached.iter().find(|hook| hook.starts_with("fentry/") || hook.starts_with("fexit/"));
    assert_eq!(traced, None);
}

fn deaths() {
    let mut pair = Pair::tail();
    let mut pids = Vec::new();
    for words in [
        "exit 0",
        "exit 3",
        "exit 137",
        "raise 15",
        "raise 9",
        "abort",
        "segv 0",
        "bus",
        "ill",
        "file-limit",
        "seccomp strict",
        "seccomp process",
        "leader-first last",
        "worker-exits 5",
        "threads 40 9",
        "as-user 12345 exit 1",
    ] {
        pids.push(run(words.split(' ')).0.pid());
    }
    let mut killed = Workload::start_ready(["wait"]);
    let (killer, _) = run(["send", "kill", "9", &killed.pid().to_string()]);
    killed.wait();
    let (mut parent, _) = run(["vfork", "5", "5"]);
    pids.extend(parent.all_pids("child_pid"));
    pids.extend([killed.pid(), killer.pid(), parent.pid()]);
    for pid in &pids {
        pair.event_of("exit", *pid);
    }
    let stories = pair.stop();
    for pid in pids {
        assert_same(&stories, pid);
    }
}

fn oom_kills() {
    const LIMIT: u64 = 48 << 20;
    let (group, top) = (Cgroup::with_memory(LIMIT), Cgroup::with_memory(LIMIT));
    let bottom = top.child("bottom");
    let mut pair = Pair::tail();
    let (own, _) = run(["in-cgroup", group.arg(), "hog", "200"]);
    let (ancestors, _) = run(["in-cgroup", bottom.arg(), "hog", "200"]);
    let (mut parent, _) = run(["in-cgroup", group.arg(), "hog-beside-small", "40", "20"]);
    let pids = [own.pid(), ancestors.pid(), parent.pid_of("big_pid"), parent.pid_of("small_pid")];
    for pid in pids {
        pair.event_of("exit", pid);
    }
    let mut stories = pair.stop();
    if !tiers::without().has("tp_btf/mark_victim") {
        // The mark on the process tells the cause, and nothing whose limit it was.
        assert_eq!(stories[0].of_kind("oom").count(), 3, "{}", stories[0]);
        assert_eq!(stories[1].of_kind("oom").count(), 0, "{}", stories[1]);
        stories[0].events.retain(|event| event["kind"] != "oom");
        for pid in pids {
            let [with, without] = stories.each_ref().map(|story| {
                let exit = story.only_exit_of(pid);
                let cause = &exit["cause"];
                json!({"status": exit["status"], "type": cause["type"], "sender": cause["sender"]})
            });
            assert_eq!(with, without);
        }
        return;
    }
    assert_eq!(stories[0].of_kind("oom").count(), 3, "{}", stories[0]);
    for pid in pids {
        assert_same(&stories, pid);
    }
}

fn binds_and_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").display().to_string();
    // One on a port of the kernel's choice is a client: only a look, where looks are needed, takes it for a server.
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let free = datagrams.local_addr().expect("it is bound").port().to_string();
    drop(datagrams);
    let mut pair = Pair::tail();
    let mut pids = Vec::new();
    for (hold, bind) in [
        ("hold tcp 127.0.0.1:0", "bind 1 tcp 127.0.0.1:PORT"),
        ("hold tcp [::1]:0", "bind 3 tcp [::1]:PORT"),
        ("hold tcp [::]:0", "bind 1 tcp 127.0.0.1:PORT"),
        ("hold udp 127.0.0.1:FREE", "bind 1 udp 127.0.0.1:PORT"),
        ("hold tcp 127.0.0.1:0 bind-only", "bind 1 tcp 127.0.0.1:PORT"),
        ("hold unix PATH", "bind 1 unix PATH"),
        ("hold abstract observer-tiers", "as-user 12345 bind 1 abstract observer-tiers"),
    ] {
        let words = |line: &str| -> Vec<_> {
            let filled = line.replace("PATH", &path).replace("FREE", &free);
            filled.split(' ').map(str::to_owned).collect()
        };
        let mut holder = Workload::start_ready(words(hold));
        let bind = bind.replace("PORT", &holder.value("port"));
        let (refused, ended) = run(words(&bind));
        assert_eq!(ended.code(), Some(0), "{bind} was not refused");
        let pid = refused.pid();
        // Whoever is in the way is looked up after the refusal: it stays until both have done so.
        pair.event_of("bind", pid);
        holder.signal(libc::SIGKILL);
        holder.wait();
        pair.event_of("exit", holder.pid());
        if !hold.ends_with("bind-only") {
            pair.event_of("release", holder.pid());
        }
        pids.extend([holder.pid(), pid]);
    }
    let mut listens =
        Workload::start_ready(["listen-fails", "self", "tcp", "127.0.0.1:0", "reuseaddr"]);
    let (not_allowed, _) = run("in-netns as-user 65534 bind 1 tcp 127.0.0.1:80".split(' '));
    let (not_local, _) = run("in-netns bind 1 tcp 192.0.2.1:8080".split(' '));
    for pid in [listens.pid(), not_allowed.pid(), not_local.pid()] {
        pair.event_of("bind", pid);
        pids.push(pid);
    }
    listens.signal(libc::SIGKILL);
    listens.wait();
    pair.event_of("release", listens.pid());
    for pid in &pids {
        pair.event_of("exit", *pid);
    }
    let stories = pair.stop();
    for pid in pids {
        assert_same(&stories, pid);
    }
}
