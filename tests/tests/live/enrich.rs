//! The identity of a process: of one that is older than the observer, and of one that exits before it can be looked
//! up in /proc.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use observer_tests::{Cgroup, Observer, Workload, assert_has, binaries, run, sys};
use serde_json::{Value, json};

crate::tests![
    full_identity,
    identity_of_a_process_started_before_the_observer,
    empty_and_strange_arguments,
    long_arguments_are_truncated_with_a_mark,
    arguments_truncated_inside_a_character,
    bytes_that_are_not_utf8,
    another_user,
    unit_and_cgroup needs CgroupV2,
    container needs CgroupV2,
    times_and_lifetime,
    peak_memory,
    network_namespace,
    pid_namespace,
    parent,
    deleted_executable,
    executable_with_a_long_path,
    cgroup_with_a_long_path needs CgroupV2,
];

/// Runs one command line to its end and returns its `exit`.
fn exit_of(words: &[&str]) -> Value {
    let mut observer = Observer::tail(&["--all"]);
    let (workload, _) = run(words);
    observer.exit_of(workload.pid());
    observer.stop().events.only_exit_of(workload.pid()).clone()
}

/// What is known of every process that this test starts.
fn identity(words: &[&str]) -> Value {
    let program = binaries::workload();
    let program = program.to_str().expect("UTF-8");
    let args = [&[program], words].concat();
    let this = std::process::id();
    let comm = fs::read_to_string("/proc/self/comm").expect("this process lives");
    json!({
        "ppid": this,
        "uid": 0,
        "comm": "workload",
        "exe": program,
        "args": args,
        "netns": sys::namespace(this, "net"),
        "ns_pid": null,
        "parent": {"pid": this, "comm": comm.trim_end()},
    })
}

fn full_identity() {
    for words in [&["exit", "0"][..], &["exit", "3", "2"], &["raise", "9"], &["abort"]] {
        assert_has(&exit_of(words), &json!({ "process": identity(words) }));
    }
}

fn identity_of_a_process_started_before_the_observer() {
    let mut workload = Workload::start_ready(["wait"]);
    let mut observer = Observer::tail(&[]);
    workload.signal(libc::SIGTERM);
    workload.wait();
    let exit = observer.exit_of(workload.pid());
    observer.stop();
    assert_has(&exit, &json!({ "process": identity(&["wait"]) }));
}

fn empty_and_strange_arguments() {
    let words = ["exit", "1", "0", "", " ", "two words", "\t\n\"\\", "Zürich → 東京", "", "-"];
    assert_has(&exit_of(&words), &json!({ "process": identity(&words) }));
}

/// At least 4 KiB are kept unchanged, and truncation is marked.
fn long_arguments_are_truncated_with_a_mark() {
    let words: Vec<String> = (0..400).map(|number| format!("{number:0>300}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let words = [&["exit", "1"], &words[..]].concat();
    let exit = exit_of(&words);
    let args = exit["process"]["args"].as_array().expect("arguments");
    let expected = identity(&words);
    let expected = expected["args"].as_array().expect("arguments");
    let same = args.iter().zip(expected).take_while(|(reported, real)| reported == real).count();
    let kept: usize = args[..same].iter().map(|arg| arg.as_str().map_or(0, str::len) + 1).sum();
    assert!(args.len() < expected.len(), "all {} are there: lengthen them", args.len());
    assert!(kept + 301 >= 4096, "{kept} bytes in {same} whole arguments are kept");
    let mark = args.last().and_then(Value::as_str).is_some_and(|last| last.contains('…'));
    assert!(mark, "no mark where they were cut: {:?}", args.last());
    assert!(args.len() - same <= 1, "arguments after the mark: {:?}", &args[same..]);
}

/// Truncation makes neither invalid UTF-8 nor another character.
fn arguments_truncated_inside_a_character() {
    for padding in ["", "x", "xx"] {
        let long = format!("{padding}{}", "東".repeat(20_000));
        let exit = exit_of(&["exit", "1", "0", &long]);
        let process = &exit["process"];
        assert_has(process, &json!({"args_hex": null}));
        let last = process["args"].as_array().and_then(|args| args.last());
        let last = last.and_then(Value::as_str).expect("arguments");
        let kept = last.trim_end_matches('…');
        assert!(
            long.starts_with(kept) && kept.len() >= 3500,
            "{} … {}",
            kept.len(),
            &last[last.len() - 9..]
        );
    }
}

/// Shown with replacement characters, the original bytes beside it.
fn bytes_that_are_not_utf8() {
    let hostile = b"\xff\xfe\x1b[31m\n\xe2\x80\xae".to_vec();
    let hex = hostile.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let mut observer = Observer::tail(&[]);
    let name = OsString::from_vec(hostile.clone());
    let (workload, _) = run(["named".into(), name.clone(), "exit".into(), "1".into(), name]);
    let exit = observer.exit_of(workload.pid());
    observer.stop();
    let process = &exit["process"];
    let shown = String::from_utf8_lossy(&hostile).into_owned();
    assert_has(process, &json!({ "comm": shown, "comm_hex": hex }));
    assert_has(&process["args"][5], &json!(shown));
    let args_hex = process["args_hex"].to_string();
    assert!(args_hex.contains(&hex), "{args_hex}");
}

fn another_user() {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut named = user.filter(|fields| fields.get(2) == Some(&"65534"));
    let name = named.next().map_or(Value::Null, |fields| json!(fields[0]));
    let exit = exit_of(&["as-user", "65534", "exit", "1"]);
    assert_has(&exit, &json!({"process": {"uid": 65534, "user": name}}));
}

fn unit_and_cgroup() {
    let group = Cgroup::v2("hello.service");
    let (_, unit) = group.path.split_at(1);
    let exit = exit_of(&["in-cgroup", group.arg(), "exit", "1"]);
    assert_has(&exit, &json!({"process": {"cgroup": group.path, "unit": unit}}));
    // A cgroup below a service still belongs to the service.
    let inner = group.child("worker");
    let exit = exit_of(&["in-cgroup", inner.arg(), "exit", "1"]);
    assert_has(&exit, &json!({"process": {"cgroup": inner.path, "unit": unit}}));
}

fn container() {
    let id = "0123456789abcdef".repeat(4);
    let outer = Cgroup::v2("containers");
    let group = outer.child(&format!("docker-{id}.scope"));
    let exit = exit_of(&["in-cgroup", group.arg(), "exit", "1"]);
    let container = exit["process"]["container"].to_string();
    assert!(container.contains(&id[..12]), "{exit:#}");
}

/// Asserts that a time lies between two moments of the test, with some slack for two clocks.
fn assert_between(reported: &Value, after: SystemTime, before: SystemTime) {
    let slack = Duration::from_millis(20);
    let reported: Timestamp = reported.as_str().expect("a time").parse().expect("RFC 3339");
    let reported = SystemTime::from(reported);
    assert!(
        after - slack <= reported && reported <= before + slack,
        "{after:?} {reported:?} {before:?}"
    );
}

fn times_and_lifetime() {
    let mut observer = Observer::tail(&[]);
    let (before, clock) = (SystemTime::now(), Instant::now());
    let mut workload = Workload::start(["exit", "1", "300"]);
    let started = SystemTime::now();
    workload.wait();
    let (ended, at_most) = (SystemTime::now(), clock.elapsed().as_secs_f64());
    let exit = observer.exit_of(workload.pid());
    observer.stop();
    assert_between(&exit["process"]["start_time"], before, started);
    assert_between(&exit["time"], started + Duration::from_millis(200), ended);
    let lifetime = exit["lifetime_seconds"].as_f64().expect("a span");
    assert!((0.3..=at_most).contains(&lifetime), "0.3 {lifetime} {at_most}");
}

fn peak_memory() {
    const MIB: u64 = 1 << 20;
    for touched in [24, 80] {
        let exit = exit_of(&["peak", &touched.to_string(), "4"]);
        let reported = exit["peak_rss_bytes"].as_u64().expect("a size");
        // The kernel counts memory per processor and adds it up now and then; the program and its libraries add some.
        let plausible = touched * MIB - 2 * MIB..touched * MIB + 16 * MIB;
        assert!(plausible.contains(&reported), "{reported} reported of {touched} MiB touched");
    }
}

fn network_namespace() {
    let mut observer = Observer::tail(&[]);
    let mut workload = Workload::start_ready(["in-netns", "wait"]);
    let netns = sys::namespace(workload.pid(), "net");
    assert_ne!(netns, sys::namespace(std::process::id(), "net"));
    workload.signal(libc::SIGTERM);
    workload.wait();
    let exit = observer.exit_of(workload.pid());
    observer.stop();
    assert_has(&exit, &json!({"process": {"netns": netns}}));
}

fn pid_namespace() {
    let mut observer = Observer::tail(&[]);
    let (mut outer, _) = run(["in-pidns", "exit", "5"]);
    let child = outer.pid_of("child_pid");
    let exit = observer.exit_of(child);
    observer.stop();
    let process = json!({"pid": child, "ns_pid": 1, "ppid": outer.pid()});
    assert_has(&exit, &json!({"process": process, "status": {"code": 5}}));
}

fn parent() {
    let mut observer = Observer::tail(&[]);
    let mut parent = Workload::start(["named", "my parent", "shell"]);
    let child = parent.pid_of("child_pid");
    let (_killer, _) = run(["send", "kill", "9", &child.to_string()]);
    parent.wait();
    let exit = observer.exit_of(child);
    observer.stop();
    let parent = json!({"pid": parent.pid(), "comm": "my parent"});
    assert_has(&exit, &json!({"process": {"parent": parent}}));
}

/// Replaced while it runs, like a deployment does.
fn deleted_executable() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("deployed");
    fs::copy(binaries::workload(), &copy).expect("room for a copy");
    let mut command = std::process::Command::new(&copy);
    command.arg("wait");
    let mut workload = Workload::from(command);
    workload.value("ready");
    fs::remove_file(&copy).expect("it is ours");
    let mut observer = Observer::tail(&[]);
    workload.signal(libc::SIGTERM);
    workload.wait();
    let exit = observer.exit_of(workload.pid());
    observer.stop();
    let exe = exit["process"]["exe"].as_str().expect("the path that it had");
    assert!(exe.starts_with(copy.to_str().expect("UTF-8")), "{exe}");
}

/// A path is whole, marked as truncated, or missing with a reason.
fn assert_whole_or_marked(process: &Value, key: &str, whole: &str) {
    match process[key].as_str() {
        Some(reported) if reported == whole => {}
        Some(reported) => {
            assert!(reported.contains('…'), "{key} is neither whole nor marked: {reported}");
        }
        None => assert!(!process["missing"][key].is_null(), "{key} is missing without a reason"),
    }
}

fn executable_with_a_long_path() {
    for depth in [1, 4, 15] {
        let folder = tempfile::tempdir().expect("a folder");
        let names: Vec<_> = (0..depth).map(|level| format!("{level:0>200}")).collect();
        let deep = folder.path().join(names.join("/"));
        fs::create_dir_all(&deep).expect("it is ours");
        let program = deep.join("program");
        fs::copy(binaries::workload(), &program).expect("room for a copy");
        let mut observer = Observer::tail(&[]);
        let mut command = std::process::Command::new(&program);
        command.args(["exit", "1"]);
        let mut workload = Workload::from(command);
        workload.wait();
        let exit = observer.exit_of(workload.pid());
        observer.stop();
        assert_whole_or_marked(&exit["process"], "exe", program.to_str().expect("UTF-8"));
    }
}

fn cgroup_with_a_long_path() {
    let mut groups = vec![Cgroup::v2("deep")];
    for level in 0..30 {
        let inner = groups[level].child(&format!("level-{level}-{}", "x".repeat(40)));
        groups.push(inner);
        if [2, 10, 29].contains(&level) {
            let innermost = groups.last().expect("one at least");
            let exit = exit_of(&["in-cgroup", innermost.arg(), "exit", "1"]);
            assert_whole_or_marked(&exit["process"], "cgroup", &innermost.path);
        }
    }
    // Innermost first: a cgroup with children cannot be removed.
    while groups.pop().is_some() {}
}
