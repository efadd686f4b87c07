//! `observer demo`: what it shows, and that it leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use observer_tests::process::Process;
use observer_tests::{Cgroup, assert_has, binaries, observer, patience, schema, sys};
use serde_json::{Value, json};

crate::tests![
    whole_demo needs MemoryCgroup,
    without_a_memory_group,
    interrupted needs MemoryCgroup,
    killed needs MemoryCgroup,
    closed_pipe,
];

/// A running demo.
struct Demo {
    process: Process,
    events: Vec<Value>,
    /// On version 2 this enables the memory controller below the root cgroup: the demo itself changes no settings
    /// there.
    _controller: Option<Cgroup>,
}

impl Demo {
    fn start() -> Self {
        let controller = Cgroup::with_memory(1 << 30);
        Self { _controller: Some(controller), ..Self::of(observer::command(["demo", "--json"])) }
    }

    fn of(command: Command) -> Self {
        Self { process: Process::start(command), events: Vec::new(), _controller: None }
    }

    /// Reads until an event of that kind comes, and returns it.
    fn until(&mut self, kind: &str) -> Value {
        while self.read(patience::limit()) {
            if let Some(event) = self.events.last().filter(|event| event["kind"] == kind) {
                return event.clone();
            }
        }
        panic!("no {kind} event{}", self.process.said());
    }

    /// Reads one more event and checks it against the schema. False when there is none.
    fn read(&mut self, limit: Duration) -> bool {
        let known = self.events.len();
        if !self.process.out.grow_beyond(known, Instant::now() + limit) {
            return false;
        }
        let line = &self.process.out.from(known)[0];
        let event: Value = serde_json::from_slice(line).expect("a line is JSON");
        let faults = schema::faults(&event, true);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        self.events.push(event);
        true
    }

    /// Reads the rest.
    fn end(&mut self) -> ExitStatus {
        while self.read(patience::limit()) {}
        self.process.wait()
    }

    /// The events about its processes and about none. A stranger that got the pid of one that has ended is left out.
    fn own(&self) -> impl Iterator<Item = &Value> {
        let is_own = |event: &&Value| {
            let comm = event["process"]["comm"].as_str();
            comm.is_none_or(|comm| comm.starts_with("demo-"))
        };
        self.events.iter().filter(is_own)
    }

    fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.own().filter(|event| event["kind"] == kind).collect()
    }

    fn stderr(&self) -> String {
        let lines = self.process.err.to_the_end();
        lines.iter().map(|line| String::from_utf8_lossy(line) + "\n").collect()
    }

    /// Its processes, without itself.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.process.pid];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(sys::children(*pid));
            next += 1;
        }
        family.split_off(1)
    }
}

fn pid(event: &Value) -> u32 {
    event["process"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid")
}

/// The memory cgroups of demos with that pid.
fn groups(pid: u32) -> Vec<PathBuf> {
    let name = format!("observer-demo-{pid}");
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(inner.map(|entry| entry.path()));
        if folder.ends_with(&name) {
            found.push(folder);
        }
    }
    found
}

/// Its state letter, Z for a zombie.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

fn assert_nothing_left(demo: &Demo, family: &[u32]) {
    // Another process may have one of the pids by now.
    let comm = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let is_left = |pid: &&u32| ["demo-", "observer"].iter().any(|own| comm(**pid).starts_with(own));
    let left: Vec<_> = family.iter().filter(is_left).collect();
    assert!(left.is_empty(), "{left:?} are left{}", demo.process.said());
    assert_eq!(groups(demo.process.pid), Vec::<PathBuf>::new());
}

/// The same with and without a memory cgroup: the port, its holder, and the next server.
fn assert_the_port(demo: &Demo) {
    let [first, last] = demo.of_kind("listen")[..] else { panic!("{:#?}", demo.events) };
    let [refused] = demo.of_kind("bind")[..] else { panic!("{:#?}", demo.events) };
    let [released] = demo.of_kind("release")[..] else { panic!("{:#?}", demo.events) };
    let socket =
        json!({"protocol": "tcp", "address": "127.0.0.1", "port": first["socket"]["port"]});
    for event in [last, refused, released] {
        assert_has(event, &json!({"socket": socket}));
    }
    let holder =
        json!({"process": {"comm": "demo-holder"}, "relation": "orphan", "inherited": true});
    let expected = json!({
        "error": {"name": "EADDRINUSE"}, "cause": {"type": "held"}, "holders": [holder],
    });
    assert_has(refused, &expected);
    let [died, gone] = [first, released].map(|event| {
        let exits = demo.of_kind("exit");
        let exit = exits.into_iter().find(|exit| pid(exit) == pid(event));
        exit.expect("whoever served died").clone()
    });
    assert_eq!(refused["holders"][0]["process"]["pid"], gone["process"]["pid"]);
    assert_has(&died, &json!({"status": {"signal_name": "SIGKILL", "shell_status": 137}}));
    let sender = json!({"pid": demo.process.pid});
    assert_has(&gone, &json!({"cause": {"type": "killed", "sender": sender}}));
}

fn whole_demo() {
    let mut demo = Demo::start();
    demo.until("listen");
    let ended = demo.end();
    assert_eq!(ended.code(), Some(0), "{ended}\n{}", demo.stderr());
    assert_eq!(demo.events[0]["kind"], "session");
    let [oom] = demo.of_kind("oom")[..] else { panic!("{:#?}", demo.events) };
    let worker = pid(demo.of_kind("listen")[0]);
    let expected = json!({
        "victim": {"pid": worker, "comm": "demo-worker"}, "scope": "cgroup", "limit_bytes": 32 << 20,
    });
    assert_has(oom, &expected);
    let limit_cgroup = oom["limit_cgroup"].as_str().expect("a group");
    assert!(limit_cgroup.ends_with(&format!("observer-demo-{}", demo.process.pid)), "{oom:#}");
    let exits = demo.of_kind("exit");
    let died = exits.iter().find(|exit| pid(exit) == worker).expect("the worker died");
    assert_has(died, &json!({"cause": {"type": "oom_kill", "oom_seq": oom["seq"]}}));
    assert_the_port(&demo);
    let about_one = demo.own().filter(|event| event["process"].is_object());
    let pids: Vec<u32> = about_one.map(pid).collect();
    let is_of_the_kill = |incident: &&Value| {
        incident["events"].as_array().is_some_and(|all| all.contains(&oom["seq"]))
    };
    let incidents: Vec<_> = demo.of_kind("incident").into_iter().filter(is_of_the_kill).collect();
    let [incident] = incidents[..] else { panic!("{:#?}", demo.events) };
    let outage = incident["outage_seconds"].as_f64();
    assert!(outage.is_some_and(|seconds| seconds > 0.0), "{incident:#}");
    assert_nothing_left(&demo, &pids);
    assert!(demo.stderr().contains("What happened"), "{}", demo.stderr());
}

/// Without a memory cgroup, it kills the worker instead and says so.
fn without_a_memory_group() {
    let mut command = Command::new(binaries::workload());
    command.args(["hide", "/sys/fs/cgroup", "exec"]).arg(binaries::observer());
    command.args(["demo", "--json"]).env_remove("RUST_LOG");
    let mut demo = Demo::of(command);
    let ended = demo.end();
    assert_eq!(ended.code(), Some(0), "{ended}\n{}", demo.stderr());
    assert!(demo.stderr().contains("no memory group"), "{}", demo.stderr());
    assert_eq!(demo.of_kind("oom").len(), 0);
    assert_the_port(&demo);
    let worker = pid(demo.of_kind("listen")[0]);
    let exits = demo.of_kind("exit");
    let died = exits.iter().find(|exit| pid(exit) == worker).expect("the worker died");
    let sender = json!({"comm": "demo-supervisor"});
    assert_has(died, &json!({"cause": {"type": "killed", "sender": sender}}));
}

/// Ctrl-C while the worker runs.
fn interrupted() {
    let mut demo = Demo::start();
    demo.until("listen");
    let family = demo.family();
    assert_eq!(family.len(), 3, "supervisor, worker, holder: {family:?}");
    assert_eq!(groups(demo.process.pid).len(), 1);
    demo.process.signal(libc::SIGINT);
    let ended = demo.end();
    assert_eq!(ended.code(), Some(1), "{ended}\n{}", demo.stderr());
    assert_nothing_left(&demo, &family);
}

/// Its processes end with it; the next demo removes the cgroup that was left.
fn killed() {
    let mut demo = Demo::start();
    demo.until("listen");
    let family = demo.family();
    assert_eq!(family.len(), 3, "supervisor, worker, holder: {family:?}");
    demo.process.signal(libc::SIGKILL);
    demo.process.wait();
    let deadline = Instant::now() + patience::limit();
    // Their new parent may not reap them.
    while family.iter().any(|pid| state(*pid).is_some_and(|state| state != 'Z')) {
        assert!(Instant::now() < deadline, "{family:?} outlive the demo");
        thread::sleep(Duration::from_millis(5));
    }
    let [group] = &groups(demo.process.pid)[..] else { panic!("no group is left over") };
    wait_until_empty(group);
    let mut next = Demo::start();
    next.until("session");
    next.until("listen");
    assert_eq!(groups(demo.process.pid), Vec::<PathBuf>::new());
    next.process.signal(libc::SIGTERM);
    next.end();
    assert_eq!(groups(next.process.pid), Vec::<PathBuf>::new());
}

fn wait_until_empty(group: &Path) {
    let deadline = Instant::now() + patience::limit();
    while fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty()) {
        assert!(Instant::now() < deadline, "somebody stays in {}", group.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// A closed pipe is not an error.
fn closed_pipe() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = observer::command(["demo", "--json"]);
    let output = command.stdout(writer).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
