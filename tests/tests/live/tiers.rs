//! With function tracing and without: two observers beside one workload report the same.
//!
//! The differences are few, and each test names its own:
//! - before Linux 6.16, what a dead process had in its memory: arguments, executable, peak (`LOST_MEMORY`);
//! - where `mark_victim` gives only a pid, the `oom` event; the `exit` has the same cause;
//! - binds by io_uring and by 32-bit programs: see `ways.rs`.

use observer_tests::{Cgroup, Events, Observer, Workload, assert_has, run, tiers};
use serde_json::{Map, Value, json};

crate::tests![
    no_function_tracing,
    deaths needs Trampolines,
    oom_kills needs Trampolines and MemoryCgroup,
    binds_and_listens needs Trampolines and BindCalls,
];

/// Without function tracing, before Linux 6.16 the exit is seen when the memory is gone already.
const LOST_MEMORY: [&str; 3] = ["args", "exe", "peak_rss_bytes"];

/// Each observer reads the clock and counts events for itself.
const ITS_OWN: [&str; 3] = ["seq", "oom_seq", "evidence"];

/// Times, and values derived from times.
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

    /// Waits until both have reported it.
    fn event_of(&mut self, kind: &str, pid: u32) {
        let it = |event: &Value| event["kind"] == kind && event["process"]["pid"] == pid;
        for observer in &mut self.0 {
            observer.wait_for(&format!("{kind} of {pid}"), it);
        }
    }

    fn stop(self) -> [Events; 2] {
        let both = self.0.map(|observer| observer.stop().events);
        for events in &both {
            assert_eq!(events.lost(), 0, "{events}");
        }
        both
    }
}

/// Asserts that both reported the same about that process: the same kinds of events with the same content.
fn assert_same(both: &[Events; 2], pid: u32) {
    let [with, without] = both.each_ref().map(|events| reported_of(events, pid));
    let kinds = |events: &[Value]| -> Vec<_> { events.iter().map(|e| e["kind"].clone()).collect() };
    assert_eq!(kinds(&with), kinds(&without), "{}\n{}", both[0], both[1]);
    assert!(!with.is_empty(), "no event about {pid}");
    for (mut with, mut without) in with.into_iter().zip(without) {
        let lost: &[&str] =
            if tiers::with().has("fentry/taskstats_exit") { &LOST_MEMORY } else { &[] };
        if with["kind"] == "release" {
            // One sees the socket close, when the process has given up the rest; the other sees the exit.
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

/// Events of that process, or with it as the victim. Events of one moment may come in either order.
fn reported_of(events: &Events, pid: u32) -> Vec<Value> {
    let kinds = ["bind", "listen", "oom", "exit", "release"];
    let of_kind = |kind| {
        let is_it = move |e: &&Value| e["process"]["pid"] == pid || e["victim"]["pid"] == pid;
        events.of_kind(kind).filter(is_it).cloned()
    };
    kinds.into_iter().flat_map(of_kind).collect()
}

/// Removes from both what each has for itself, and what the second could not learn if that is in `lost`. Of times
/// only their presence is compared.
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

/// The reason is removed with the missing key.
fn forgive(object: &mut Map<String, Value>, key: &str) {
    if let Some(reasons) = object.get_mut("missing").and_then(Value::as_object_mut) {
        reasons.remove(key);
        if reasons.is_empty() {
            object.remove("missing");
        }
    }
}

/// `doctor` lists the remaining hooks, and `tail` uses exactly those.
fn no_function_tracing() {
    let observer = Observer::tail(&[tiers::WITHOUT]);
    let events = observer.stop().events;
    let hooks = events.all[0]["hooks"].as_array().expect("a session lists its hooks");
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
    let both = pair.stop();
    for pid in pids {
        assert_same(&both, pid);
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
    let mut both = pair.stop();
    if !tiers::without().has("tp_btf/mark_victim") {
        // The mark on the process gives the cause, but not the limit.
        assert_eq!(both[0].of_kind("oom").count(), 3, "{}", both[0]);
        assert_eq!(both[1].of_kind("oom").count(), 0, "{}", both[1]);
        both[0].all.retain(|event| event["kind"] != "oom");
        for pid in pids {
            let [with, without] = both.each_ref().map(|events| {
                let exit = events.only_exit_of(pid);
                let cause = &exit["cause"];
                json!({"status": exit["status"], "type": cause["type"], "sender": cause["sender"]})
            });
            assert_eq!(with, without);
        }
        return;
    }
    assert_eq!(both[0].of_kind("oom").count(), 3, "{}", both[0]);
    for pid in pids {
        assert_same(&both, pid);
    }
}

fn binds_and_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").display().to_string();
    // UDP on a port chosen by the kernel is a client: only a scan, where scans are needed, takes it for a server.
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
        // The holder is looked up after the refusal: it stays until both have done so.
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
    let both = pair.stop();
    for pid in pids {
        assert_same(&both, pid);
    }
}
