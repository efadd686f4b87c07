//! The service for its administrator: start, settings, reload, status, socket, permissions.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use observer_tests::{Place, Workload, assert_has, binaries, observer, patience, run};
use serde_json::{Value, json};

crate::tests![
    two_on_one_folder,
    two_on_one_socket,
    stale_socket_is_replaced,
    file_at_the_socket_path_is_kept,
    broken_config_at_start,
    broken_config_at_reload,
    reload_changes_exits,
    reload_changes_segment_bytes,
    status_report,
    no_service,
    ports_through_the_service,
    user_outside_the_group_is_refused,
    group_member_may_read,
    watchdog_is_notified,
    too_few_descriptors,
    folder_without_files,
];

fn refused(output: &Output, code: i32, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(word), "{stderr}");
    assert!(output.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&output.stdout));
}

fn two_on_one_folder() {
    let place = Place::new("");
    let mut service = place.serve(&[]);
    let second = Place::new("").with_store_in(place.dir());
    refused(&second.output(&["serve"]), 4, "another observer stores events in");
    assert!(!second.socket().exists(), "it listens");
    assert_first_goes_on(&place, &mut service);
    service.stop();
    // The socket is free now.
    second.serve(&[]).stop();
    place.verified();
}

fn assert_first_goes_on(place: &Place, service: &mut observer_tests::Service) {
    let mut tail = place.tail(&[]);
    let (marker, _) = run(["exit", "1"]);
    tail.exit_of(marker.pid());
    tail.stop();
    assert!(service.lives());
}

fn two_on_one_socket() {
    let place = Place::new("");
    let mut service = place.serve(&[]);
    let second = Place::new(&format!("socket = \"{}\"\n", place.socket().display()));
    let mut command = observer::command(["serve"]);
    command.arg("--dir").arg(second.dir());
    command.arg("--config").arg(second.path().join("observer.toml"));
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    refused(&output, 4, "another observer listens on");
    assert_first_goes_on(&place, &mut service);
    service.stop();
    assert!(!place.socket().exists(), "a stop leaves the socket behind");
}

fn stale_socket_is_replaced() {
    let place = Place::new("");
    place.serve(&[]).kill();
    let left = fs::symlink_metadata(place.socket()).expect("a kill leaves it");
    assert!(left.file_type().is_socket());
    let mut service = place.serve(&[]);
    assert_first_goes_on(&place, &mut service);
    service.stop();
}

fn file_at_the_socket_path_is_kept() {
    let place = Place::new("");
    fs::write(place.socket(), "precious").expect("room");
    refused(&place.output(&["serve"]), 4, "is no socket");
    assert_eq!(fs::read(place.socket()).expect("it stays"), b"precious");
    fs::remove_file(place.socket()).expect("it stays");
    // The target of a symlink is kept too.
    let target = place.path().join("target");
    fs::write(&target, "precious").expect("room");
    std::os::unix::fs::symlink(&target, place.socket()).expect("room");
    refused(&place.output(&["serve"]), 4, "is no socket");
    assert_eq!(fs::read(target).expect("it stays"), b"precious");
}

const BROKEN: [(&str, &str); 5] = [
    ("exits = \"some\"\n", "observer.toml:1:9: "),
    ("[files]\nkeep_dys = 7\n", "observer.toml:2:1: unknown setting `keep_dys`"),
    ("[files]\nkeep_days = \"7\"\n", "observer.toml:2:13: "),
    ("\n\nbinds = \n", "observer.toml:3:9: "),
    ("[files]\nsegment_bytes = 5\n", "observer.toml:2:17: 5 is too small"),
];

fn broken_config_at_start() {
    for (settings, word) in BROKEN {
        let place = Place::new(settings);
        refused(&place.output(&["serve"]), 2, word);
        assert!(!place.dir().exists(), "it has begun");
    }
    let place = Place::new("");
    fs::remove_file(place.path().join("observer.toml")).expect("it is there");
    refused(&place.output(&["serve"]), 4, "observer.toml");
}

fn broken_config_at_reload() {
    let place = Place::new("exits = \"all\"\n");
    let mut service = place.serve(&[]);
    for (settings, word) in BROKEN {
        place.set(settings);
        service.signal(libc::SIGHUP);
        let line = service.wait_said(word);
        assert!(line.contains("the old settings stay"), "{line}");
    }
    let (ordinary, _) = run(["exit", "0"]);
    assert_first_goes_on(&place, &mut service);
    let stderr = service.stop();
    assert_eq!(stderr.len(), BROKEN.len(), "{stderr:?}");
    place.set("");
    let stored = place.stored();
    stored.events.only_exit_of(ordinary.pid());
    stored.assert_unbroken();
}

fn reload_changes_exits() {
    let place = Place::new("");
    let service = place.serve(&[]);
    let (before, _) = run(["exit", "0"]);
    place.set("exits = \"all\"\n");
    service.signal(libc::SIGHUP);
    service.wait_said("settings read");
    let (after, _) = run(["exit", "0"]);
    place.set("exits = \"abnormal\"\n");
    service.signal(libc::SIGHUP);
    let mut tail = place.tail(&[]);
    // Both reloads happen one after the other: what follows is recorded with the new settings.
    let deadline = Instant::now() + patience::limit();
    let silent = loop {
        assert!(Instant::now() < deadline, "ordinary deaths are still recorded");
        let (ordinary, _) = run(["exit", "0"]);
        let (marker, _) = run(["exit", "1"]);
        tail.exit_of(marker.pid());
        if tail.so_far().exits_of(ordinary.pid()).count() == 0 {
            break ordinary;
        }
    };
    tail.stop();
    service.stop();
    let stored = place.stored();
    stored.assert_unbroken();
    stored.events.only_exit_of(after.pid());
    for ordinary in [&before, &silent] {
        assert_eq!(stored.events.exits_of(ordinary.pid()).count(), 0);
    }
    place.verified();
}

fn reload_changes_segment_bytes() {
    let place = Place::new("");
    let service = place.serve(&[]);
    let (first, _) = run(["storm", "200", "1"]);
    let seen = |pid, all| place.stored().events.has_all(&[pid], all);
    wait_until("the storm is recorded", || seen(first.pid(), 200));
    assert_eq!(place.names().iter().filter(|name| name.ends_with(".jsonl")).count(), 1);
    assert_eq!(place.compressed(), 0);
    place.set("[files]\nsegment_bytes = 65536\n");
    service.signal(libc::SIGHUP);
    service.wait_said("settings read");
    // Far more than two segments, however long the events are.
    let (second, _) = run(["storm", "600", "1"]);
    wait_until("the second one is", || seen(second.pid(), 600));
    place.wait_compressed(2);
    service.stop();
    place.verified();
    place.stored().assert_unbroken();
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + patience::limit();
    while !holds() {
        assert!(Instant::now() < deadline, "not so: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn status_report() {
    let place = Place::new("");
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let (storm, _) = run(["storm", "10", "1"]);
    let pid = storm.pid();
    tail.wait_until("all", |events| (events.exits_of_children(pid).count() == 10).then_some(()));
    let status: Value = serde_json::from_str(&place.text(&["status", "--json"])).expect("JSON");
    let dir = place.dir().to_str().expect("made of ASCII");
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": service.pid(),
        "events": {"session": 1},
        "lost": {},
        "clients": {"now": 1, "missed": 0},
        "store": {"dir": dir, "segments": 1, "stopped": null},
    });
    assert_has(&status, &expected);
    let number = |path: &str| status.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    assert!(number("/events/exit") >= 10.0, "{status:#}");
    assert!(number("/seq") >= 11.0, "{status:#}");
    assert!(number("/store/used_bytes") > 1000.0, "{status:#}");
    assert!(number("/store/free_bytes") > 0.0, "{status:#}");
    assert!(number("/own/cpu_seconds") > 0.0, "{status:#}");
    let (rss, peak) = (number("/own/rss_bytes"), number("/own/peak_rss_bytes"));
    assert!(rss > 1e6 && peak >= rss && peak < 3e8, "{status:#}");
    let programs = status["programs"].as_array().expect("programs");
    // Which of the two depends on the kernel.
    let deaths = ["exit", "exit_early"];
    let watched = |program: &Value| deaths.iter().any(|name| program["program"] == *name);
    assert!(programs.iter().any(watched), "{status:#}");
    let text = place.text(&["status"]);
    assert!(text.contains(&format!("pid {}", service.pid())), "{text}");
    assert!(text.contains("writes observer-000001-"), "{text}");
    tail.stop();
    service.stop();
}

fn no_service() {
    let place = Place::new("");
    refused(&place.output(&["status"]), 4, "no service listens");
    place.serve(&[]).kill();
    refused(&place.output(&["status"]), 4, "no service listens");
}

fn ports_through_the_service() {
    let place = Place::new("");
    let service = place.serve(&[]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let port = holder.value("port");
    let text = place.text(&["ports", "--json", &port]);
    let line: Value = serde_json::from_str(&text).expect("one line");
    assert_eq!(line["socket"]["port"].to_string(), port, "{line:#}");
    assert_eq!(line["holders"][0]["process"]["pid"], holder.pid(), "{line:#}");
    // The service answers from its own scan: not every client may scan itself.
    let answer = asked(&place, &format!("{{\"request\":\"ports\",\"ports\":[{port}]}}"));
    let answer: Value = serde_json::from_str(&answer).expect("one line");
    assert_eq!(answer["socket"], line["socket"]);
    assert_eq!(answer["holders"][0]["process"]["pid"], holder.pid(), "{answer:#}");
    holder.signal(libc::SIGKILL);
    holder.wait();
    assert_eq!(place.output(&["ports", "--json", &port]).status.code(), Some(1));
    assert_eq!(asked(&place, &format!("{{\"request\":\"ports\",\"ports\":[{port}]}}")), "");
    service.stop();
}

fn asked(place: &Place, request: &str) -> String {
    let mut stream = UnixStream::connect(place.socket()).expect("it listens");
    stream.write_all(format!("{request}\n").as_bytes()).expect("writable");
    stream.shutdown(Shutdown::Write).expect("connected");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("UTF-8");
    text
}

/// Runs a copy of the binary as another user.
fn as_user(place: &Place, group: u32, words: &[&str]) -> Output {
    let copy: PathBuf = place.path().join("observer");
    fs::copy(binaries::observer(), &copy).expect("room for a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new(copy);
    command.args(words).args(place.flags()).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command.uid(65534).gid(group).current_dir("/").stdin(Stdio::null());
    command.output().expect("it runs")
}

fn user_outside_the_group_is_refused() {
    let place = Place::new("");
    let service = place.serve(&[]);
    for words in [&["status"][..], &["tail"], &["ports"]] {
        refused(&as_user(&place, 65534, words), 3, "not permitted");
    }
    let log = as_user(&place, 65534, &["log"]);
    refused(&log, 3, "not permitted to read the events");
    for words in [&["verify"][..], &["why"]] {
        refused(&as_user(&place, 65534, words), 3, "sudo");
    }
    service.stop();
}

fn group_member_may_read() {
    let place = Place::new("");
    let service = place.serve(&[]);
    let group = std::os::unix::fs::MetadataExt::gid(&fs::metadata(place.dir()).expect("records"));
    assert_ne!(group, 0, "there is no group adm");
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let port = holder.value("port");
    let status = as_user(&place, group, &["status", "--json"]);
    assert_eq!(status.status.code(), Some(0), "{}", String::from_utf8_lossy(&status.stderr));
    let ports = as_user(&place, group, &["ports", "--json", &port]);
    let line: Value = serde_json::from_slice(&ports.stdout).expect("one line");
    assert_eq!(line["holders"][0]["process"]["pid"], holder.pid(), "{line:#}");
    holder.signal(libc::SIGKILL);
    holder.wait();
    let none = as_user(&place, group, &["ports", &port]);
    assert_eq!(none.status.code(), Some(1), "{}", String::from_utf8_lossy(&none.stderr));
    service.stop();
    let log = as_user(&place, group, &["log", "--json"]);
    assert_eq!(log.status.code(), Some(0), "{}", String::from_utf8_lossy(&log.stderr));
    assert_eq!(as_user(&place, group, &["verify"]).status.code(), Some(0));
    // Group members may read, and no more.
    refused(&as_user(&place, group, &["serve"]), 3, "root");
}

/// With a watchdog configured it notifies systemd often enough, whether anything happens or not.
fn watchdog_is_notified() {
    let place = Place::new("");
    let mut service = place.start_with(&[], &[("WATCHDOG_USEC", "1000000")]);
    service.wait_ready();
    let began = Instant::now();
    for _ in 0..4 {
        service.wait_notified("WATCHDOG=1");
    }
    // At once, and then every half interval.
    assert!(began.elapsed() < patience::scaled(4), "{:?}", began.elapsed());
    service.stop();
}

/// The message does not blame the kernel.
fn too_few_descriptors() {
    let place = Place::new("");
    let mut command = Command::new("sh");
    let flags = place.flags();
    command.args(["-c", "ulimit -n 32 && exec \"$@\"", "sh"]).arg(binaries::observer());
    command.arg("serve").args(flags).env("NO_COLOR", "1").env_remove("RUST_LOG");
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    refused(&output, 4, "the limit on open files is 32");
}

fn folder_without_files() {
    for folder in ["/proc", "/sys"] {
        let place = Place::new("").with_store_in(std::path::Path::new(folder));
        refused(&place.output(&["serve"]), 4, &format!("can't create files in {folder}"));
        assert!(!place.socket().exists(), "it listens");
    }
}
