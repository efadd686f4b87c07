//! Ports of real servers: the holders, their relations, and the advice.
//!
//! systemd's socket activation and Docker need a machine of their own; a program installed as Docker's proxy stands
//! in for it.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use observer_tests::process::Process;
use observer_tests::{Observer, Workload, assert_has, binaries, observer, patience, run, sys};
use serde_json::{Value, json};

crate::tests![
    nginx_master_and_workers needs Nginx,
    nginx_started_before_the_observer needs Nginx,
    nginx_releases_with_its_master needs Nginx,
    nginx_in_the_table needs Nginx,
    node needs Node,
    node_cluster_round_robin needs Node,
    node_cluster_shared_socket needs Node,
    node_worker_refused_by_its_primary needs Node,
    multipath_listener needs Mptcp,
    docker_proxy_in_a_mount_namespace_of_its_own,
    fake_docker_proxy_is_a_sibling,
];

/// A master and two workers on a loopback port. All are killed on drop.
struct Nginx {
    master: Process,
    workers: Vec<u32>,
    /// The master first: it replaces a worker that dies before it.
    handles: Vec<OwnedFd>,
    port: u64,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().display();
        let port = free_port();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {dir}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off; user root; worker_processes 2; pid {dir}/pid; error_log stderr;\n\
             events {{ worker_connections 16; }}\n\
             http {{ access_log off;\n{paths}server {{ listen 127.0.0.1:{port}; return 204; }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("room for it");
        let mut command = Command::new(sys::installed("nginx").expect("needed"));
        command.arg("-p").arg(folder.path()).arg("-c").arg(file);
        let master = Process::start(command);
        let workers = two_children(&master);
        let all = [master.pid].into_iter().chain(workers.iter().copied());
        let handles = all.filter_map(sys::pidfd).collect();
        Self { master, workers, handles, port, _folder: folder }
    }

    fn pids(&self) -> Vec<u64> {
        let all = [self.master.pid].into_iter().chain(self.workers.iter().copied());
        all.map(u64::from).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        for process in &self.handles {
            sys::kill_by(process);
        }
    }
}

/// A free port that was never served: the observer knows nothing about it.
fn free_port() -> u64 {
    Workload::start_ready(["hold", "tcp", "127.0.0.1:0", "bind-only"]).number("port")
}

/// The workers of a program that starts them as soon as it serves.
fn two_children(process: &Process) -> Vec<u32> {
    let deadline = Instant::now() + patience::limit();
    loop {
        let mut children = sys::children(process.pid);
        children.sort_unstable();
        if children.len() == 2 {
            return children;
        }
        assert!(Instant::now() < deadline, "it has no two workers{}", process.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Another process wants that port: its `bind` event.
fn refused(mut observer: Observer, port: impl std::fmt::Display) -> Value {
    let (workload, ended) = run(["bind", "1", "tcp", &format!("127.0.0.1:{port}")]);
    assert_eq!(ended.code(), Some(0), "it was not refused");
    let pid = workload.pid();
    let event = observer
        .wait_for("the refusal", |event| event["kind"] == "bind" && event["process"]["pid"] == pid);
    observer.stop();
    let (error, cause) = (json!({"name": "EADDRINUSE"}), json!({"type": "held"}));
    assert_has(&event, &json!({"error": error, "cause": cause}));
    event
}

fn holder(event: &Value, pid: impl Into<u64>) -> &Value {
    let pid = pid.into();
    let mut holders = event["holders"].as_array().expect("holders").iter();
    let found = holders.find(|holder| holder["process"]["pid"] == pid);
    found.unwrap_or_else(|| panic!("{pid} is not among the holders of {event:#}"))
}

fn assert_holders(event: &Value, mut expected: Vec<u64>) {
    let holders = event["holders"].as_array().expect("holders").iter();
    let mut reported: Vec<_> =
        holders.filter_map(|holder| holder["process"]["pid"].as_u64()).collect();
    reported.sort_unstable();
    expected.sort_unstable();
    assert_eq!(reported, expected, "{event:#}");
}

/// A killed worker is replaced: only the owner may be named in an advice to end a process.
fn assert_advice_spares(event: &Value, workers: &[u32], owner: u32) {
    let remedy = event["cause"]["remedy"].as_str().expect("a remedy");
    let named = |pid: u32| {
        let text = pid.to_string();
        remedy.split(|c: char| !c.is_ascii_digit()).any(|word| word == text)
    };
    assert!(named(owner), "the owner {owner} is not named: {remedy}");
    let ends_all = remedy.contains("must end");
    let workers_named = workers.iter().any(|worker| named(*worker));
    assert!(!(ends_all && workers_named), "workers are to be ended: {remedy}");
}

fn nginx_master_and_workers() {
    let observer = Observer::tail(&[]);
    let nginx = Nginx::start();
    let event = refused(observer, nginx.port);
    assert_holders(&event, nginx.pids());
    let process = json!({"comm": "nginx", "exe": exe(nginx.master.pid)});
    let master = json!({"inherited": false, "relation": "sibling", "process": process});
    assert_has(holder(&event, nginx.master.pid), &master);
    let first = &event["holders"][0]["process"]["pid"];
    assert_eq!(*first, nginx.master.pid, "the owner comes first: {event:#}");
    for worker in &nginx.workers {
        let expected = json!({"inherited": true, "process": {"ppid": nginx.master.pid}});
        assert_has(holder(&event, *worker), &expected);
        assert_ne!(holder(&event, *worker)["relation"], "orphan");
    }
    assert_advice_spares(&event, &nginx.workers, nginx.master.pid);
}

fn exe(pid: u32) -> String {
    let link = fs::read_link(format!("/proc/{pid}/exe")).expect("it lives");
    link.display().to_string()
}

/// The observer did not see who opened the socket; that the workers inherited it is still known.
fn nginx_started_before_the_observer() {
    let nginx = Nginx::start();
    let event = refused(Observer::tail(&[]), nginx.port);
    assert_holders(&event, nginx.pids());
    assert_ne!(holder(&event, nginx.master.pid)["inherited"], true, "{event:#}");
    for worker in &nginx.workers {
        assert_has(holder(&event, *worker), &json!({"inherited": true}));
    }
    assert_advice_spares(&event, &nginx.workers, nginx.master.pid);
}

/// A worker's death releases nothing, and the master starts a new one.
fn nginx_releases_with_its_master() {
    for _ in 0..4 {
        nginx_releases_once();
    }
}

fn nginx_releases_once() {
    let mut observer = Observer::tail(&["--all"]);
    let mut nginx = Nginx::start();
    let port = nginx.port;
    sys::kill_by(&nginx.handles[1]);
    observer.exit_of(nginx.workers[0]);
    nginx.handles.extend(two_children(&nginx.master).into_iter().filter_map(sys::pidfd));
    nginx.master.signal(libc::SIGTERM);
    nginx.master.wait();
    let master = nginx.master.pid;
    observer.exit_of(master);
    let of_port = |event: &Value| event["kind"] == "release" && event["socket"]["port"] == port;
    observer.wait_for("the release", of_port);
    let events = observer.stop().events;
    let releases: Vec<_> = events.all.iter().filter(|event| of_port(event)).collect();
    assert_eq!(releases.len(), 1, "{events}");
    assert_has(releases[0], &json!({"process": {"pid": master}}));
    let socket = json!({"protocol": "tcp", "address": "127.0.0.1", "port": port});
    assert_has(events.only_exit_of(master), &json!({ "released": [socket] }));
    assert_has(events.only_exit_of(nginx.workers[0]), &json!({ "released": null }));
}

fn nginx_in_the_table() {
    let nginx = Nginx::start();
    let words = ["ports", &nginx.port.to_string(), "--json"];
    let output = observer::command(words).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "one socket, however many hold it: {text}");
    let line: Value = serde_json::from_str(&text).expect("JSON");
    assert_holders(&line, nginx.pids());
    assert_eq!(line["holders"][0]["process"]["pid"], nginx.master.pid, "the owner comes first");
}

/// Starts cluster.js with that argument and waits until it is ready.
fn node_server(how: &str) -> Workload {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/cluster.js");
    let mut command = Command::new(sys::installed("node").expect("needed"));
    command.args([script, how]);
    let mut node = Workload::from(command);
    node.value("ready");
    node
}

fn node() {
    let observer = Observer::tail(&[]);
    let mut node = node_server("plain");
    let event = refused(observer, node.value("port"));
    assert_holders(&event, vec![node.pid().into()]);
    let process = json!({"exe": exe(node.pid())});
    let expected = json!({"inherited": false, "relation": "sibling", "process": process});
    assert_has(holder(&event, node.pid()), &expected);
    let args = &holder(&event, node.pid())["process"]["args"];
    assert!(args[1].as_str().is_some_and(|script| script.ends_with("cluster.js")), "{args}");
}

/// The workers have no socket of their own, so they are not holders.
fn node_cluster_round_robin() {
    let observer = Observer::tail(&[]);
    let mut node = node_server("shared");
    let event = refused(observer, node.value("port"));
    assert_holders(&event, vec![node.pid().into()]);
    assert_has(holder(&event, node.pid()), &json!({"inherited": false, "relation": "sibling"}));
}

/// The workers call `listen` on the primary's socket.
fn node_cluster_shared_socket() {
    let observer = Observer::tail(&[]);
    let mut node = node_server("handed");
    let workers = sys::children(node.pid());
    assert_eq!(workers.len(), 2);
    let event = refused(observer, node.value("port"));
    let all = [node.pid()].into_iter().chain(workers.iter().copied()).map(u64::from);
    assert_holders(&event, all.collect());
    let primary = holder(&event, node.pid());
    assert_eq!(primary["relation"], "sibling", "its parent lives: {primary:#}");
    assert_ne!(primary["inherited"], true, "{primary:#}");
    for worker in &workers {
        assert_ne!(holder(&event, *worker)["relation"], "orphan", "{event:#}");
    }
    assert_advice_spares(&event, &workers, node.pid());
}

fn node_worker_refused_by_its_primary() {
    for how in ["shared", "handed"] {
        let mut observer = Observer::tail(&[]);
        let mut node = node_server(how);
        let primary = node.pid();
        node.signal(libc::SIGUSR2);
        assert_eq!(node.number("refused"), 98);
        let event = observer.wait_for("the refusal", |event| {
            event["kind"] == "bind" && event["process"]["ppid"] == primary
        });
        observer.stop();
        assert_has(holder(&event, primary), &json!({"relation": "parent"}));
        let remedy = event["cause"]["remedy"].as_str().expect("a remedy");
        assert!(remedy.contains("parent"), "{how}: its own parent is to be ended: {remedy}");
    }
}

fn multipath_listener() {
    let observer = Observer::tail(&[]);
    let mut server = Workload::start_ready(["hold", "tcp", "[::]:0", "mptcp"]);
    let event = refused(observer, server.value("port"));
    assert_holders(&event, vec![server.pid().into()]);
    let socket = json!({"protocol": "tcp", "mptcp": true, "address": "::"});
    let expected = json!({"socket": socket, "inherited": false, "relation": "sibling"});
    assert_has(holder(&event, server.pid()), &expected);
}

/// In a mount namespace of its own anybody may have any program at any path.
fn docker_proxy_in_a_mount_namespace_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("docker-proxy");
    fs::copy(binaries::workload(), copy).expect("room for a copy");
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable).expect("it is ours");
    let observer = Observer::tail(&[]);
    let seen = ["see", folder.path().to_str().expect("UTF-8"), "/usr/bin"];
    let words = ["exec", "/usr/bin/docker-proxy", "hold", "tcp", "127.0.0.1:0"];
    let mut proxy = Workload::start_ready(seen.iter().chain(&words));
    let event = refused(observer, proxy.value("port"));
    assert_holders(&event, vec![proxy.pid().into()]);
    let expected = json!({"relation": "sibling", "inherited": false});
    assert_has(holder(&event, proxy.pid()), &expected);
    let remedy = event["cause"]["remedy"].as_str().expect("a remedy");
    assert!(!remedy.contains("container"), "{remedy}");
}

/// Any user may run a program named docker-proxy.
fn fake_docker_proxy_is_a_sibling() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("docker-proxy");
    fs::copy(binaries::workload(), &copy).expect("room for a copy");
    let observer = Observer::tail(&[]);
    let mut command = Command::new(copy);
    command.args(["hold", "tcp", "127.0.0.1:0"]);
    let mut impostor = Workload::from(command);
    impostor.value("ready");
    let event = refused(observer, impostor.value("port"));
    assert_has(holder(&event, impostor.pid()), &json!({"relation": "sibling"}));
}
