//! Who serves which port: `listen`, `release`, `released` of an `exit`, and `observer ports`.

use std::process::Output;

use observer_tests::{Events, Observer, Workload, assert_has, observer, run, sys};
use serde_json::{Value, json};

crate::tests![
    listen_and_release,
    initial_listen,
    released_by_the_last_sharer,
    released_by_a_busy_server,
    closed_while_the_process_lives,
    table_of_holders,
    no_holder_is_status_1,
    in_another_network_namespace,
    all_holders_of_a_shared_socket,
    port_filter,
    bound_sockets_are_in_the_table,
    udp_server_on_an_ephemeral_port,
    ephemeral_or_chosen_port,
];

fn about_port<'events>(events: &'events Events, kind: &str, port: u64) -> Vec<&'events Value> {
    events.of_kind(kind).filter(|event| event["socket"]["port"] == port).collect()
}

fn wait_for_release(observer: &mut Observer, port: u64) {
    observer.wait_for("the release", |event| {
        event["kind"] == "release" && event["socket"]["port"] == port
    });
}

fn listen_and_release() {
    let mut observer = Observer::tail(&["--all"]);
    let mut server = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let port = server.number("port");
    server.signal(libc::SIGKILL);
    server.wait();
    wait_for_release(&mut observer, port);
    observer.exit_of(server.pid());
    let events = observer.stop().events;
    let socket = json!({"protocol": "tcp", "address": "127.0.0.1", "port": port});
    let process = json!({"pid": server.pid()});
    let [listen] = about_port(&events, "listen", port)[..] else {
        panic!("not one listen; {events}")
    };
    assert_has(listen, &json!({"process": process, "socket": socket, "backlog": 16}));
    assert_ne!(listen["initial"], true);
    let [release] = about_port(&events, "release", port)[..] else { panic!("not one; {events}") };
    assert_has(release, &json!({"process": process, "socket": socket}));
    assert!(release["served_seconds"].as_f64().is_some_and(|span| span > 0.0), "{release:#}");
    assert_has(events.only_exit_of(server.pid()), &json!({ "released": [socket] }));
}

fn initial_listen() {
    let mut server = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let port = server.number("port");
    let mut observer = Observer::tail(&["--all"]);
    let event = observer.wait_for("the initial listen", |event| {
        event["kind"] == "listen" && event["socket"]["port"] == port
    });
    observer.stop();
    assert_has(&event, &json!({"initial": true, "process": {"pid": server.pid()}}));
}

/// The death of the first of two sharers releases nothing.
fn released_by_the_last_sharer() {
    let mut observer = Observer::tail(&["--all"]);
    let mut parent = Workload::start_ready(["sharers", "tcp", "127.0.0.1:0"]);
    let (port, child) = (parent.number("port"), parent.pid_of("child_pid"));
    parent.signal(libc::SIGKILL);
    parent.wait();
    observer.exit_of(parent.pid());
    let (marker, _) = run(["exit", "1"]);
    observer.exit_of(marker.pid());
    assert_eq!(about_port(observer.so_far(), "release", port).len(), 0);
    let (_killer, _) = run(["send", "kill", "9", &child.to_string()]);
    wait_for_release(&mut observer, port);
    let events = observer.stop().events;
    let [release] = about_port(&events, "release", port)[..] else { panic!("not one; {events}") };
    assert_has(release, &json!({"process": {"pid": child}}));
    let socket = json!({"protocol": "tcp", "port": port});
    assert_has(events.only_exit_of(child), &json!({ "released": [socket] }));
    assert_has(events.only_exit_of(parent.pid()), &json!({ "released": null }));
}

/// The kernel reports the exit first and closes the files later, which takes a while.
fn released_by_a_busy_server() {
    let mut observer = Observer::tail(&["--all"]);
    let mut pids = Vec::new();
    for _ in 0..3 {
        let mut server = Workload::start_ready(["busy-server", "4000"]);
        let port = server.number("port");
        server.signal(libc::SIGKILL);
        server.wait();
        wait_for_release(&mut observer, port);
        observer.exit_of(server.pid());
        pids.push((server.pid(), port));
    }
    let events = observer.stop().events;
    for (pid, port) in pids {
        let socket = json!({"protocol": "tcp", "address": "127.0.0.1", "port": port});
        assert_has(events.only_exit_of(pid), &json!({ "released": [socket] }));
        let [release] = about_port(&events, "release", port)[..] else { panic!("{events}") };
        assert_has(release, &json!({ "process": {"pid": pid} }));
    }
}

fn closed_while_the_process_lives() {
    let mut observer = Observer::tail(&["--all"]);
    let mut client = Workload::start_ready(["half-closed", "127.0.0.1:0"]);
    let port = client.number("port");
    wait_for_release(&mut observer, port);
    let events = observer.stop().events;
    let [release] = about_port(&events, "release", port)[..] else { panic!("not one; {events}") };
    assert_has(release, &json!({"process": {"pid": client.pid()}}));
}

fn ports(words: &[&str]) -> Output {
    observer::command([&["ports"], words].concat()).output().expect("it runs")
}

fn only_line(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn table_of_holders() {
    let mut server = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let port = server.number("port");
    let line = only_line(&ports(&[&port.to_string(), "--json"]));
    let expected = json!({
        "socket": {"protocol": "tcp", "address": "127.0.0.1", "port": port},
        "holders": [{"process": {"pid": server.pid()}, "fd": server.number("fd")}],
    });
    assert_has(&line, &expected);
    let table = ports(&[&port.to_string()]);
    let text = String::from_utf8(table.stdout).expect("UTF-8");
    assert!(text.contains(&server.pid().to_string()), "{text}");
}

fn no_holder_is_status_1() {
    let (mut gone, _) = run(["time-wait", "127.0.0.1:0"]);
    let output = ports(&[&gone.value("port"), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

fn in_another_network_namespace() {
    let server = Workload::start_ready(["in-netns", "hold", "tcp", "127.0.0.1:18080"]);
    let netns = sys::namespace(server.pid(), "net");
    let output = ports(&["18080", "--json"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ours: Vec<_> = lines.iter().filter(|line| line["socket"]["netns"] == netns).collect();
    assert_eq!(ours.len(), 1, "{text}");
    assert_eq!(ours[0]["holders"][0]["process"]["pid"], server.pid());
}

fn all_holders_of_a_shared_socket() {
    let mut parent = Workload::start_ready(["sharers", "tcp", "127.0.0.1:0"]);
    let line = only_line(&ports(&[&parent.value("port"), "--json"]));
    let holders = line["holders"].as_array().expect("holders");
    let mut pids: Vec<_> = holders.iter().map(|holder| holder["process"]["pid"].as_u64()).collect();
    pids.sort_unstable();
    let mut expected = [parent.pid(), parent.pid_of("child_pid")].map(|pid| Some(u64::from(pid)));
    expected.sort_unstable();
    assert_eq!(pids, expected);
}

/// Events about other ports and other processes are left out.
fn port_filter() {
    let mut servers = [0; 2].map(|_| Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]));
    let [silent, wanted] = [0, 1].map(|index: usize| servers[index].number("port"));
    let mut observer = Observer::tail(&["--port", &wanted.to_string()]);
    let refused = [silent, wanted]
        .map(|port| run(["bind", "1", "tcp", &format!("127.0.0.1:{port}")]).0.pid());
    observer.wait_for("the refusal", |event| event["process"]["pid"] == refused[1]);
    let events = observer.stop().events;
    assert_eq!(about_port(&events, "bind", wanted).len(), 1, "{events}");
    assert_eq!(about_port(&events, "bind", silent).len(), 0, "{events}");
    assert_eq!(events.of_kind("exit").count(), 0, "{events}");
}

fn bound_sockets_are_in_the_table() {
    let mut bound = Workload::start_ready(["hold", "tcp", "127.0.0.1:0", "bind-only"]);
    let mut client = Workload::start_ready(["hold", "udp", "127.0.0.1:0"]);
    let output = ports(&["--json"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (workload, protocol) in [(&mut bound, "tcp"), (&mut client, "udp")] {
        let (port, pid) = (workload.number("port"), workload.pid());
        let is_it = |line: &&Value| {
            line["socket"]["port"] == port && line["socket"]["protocol"] == protocol
        };
        let line = lines.iter().find(is_it).expect("its line");
        assert_eq!(line["holders"][0]["process"]["pid"], pid, "{line:#}");
        assert_eq!(line["socket"]["ephemeral"], true, "{line:#}");
    }
}

/// A port from the ephemeral range that bind(2) named: a server like any other.
fn udp_server_on_an_ephemeral_port() {
    let is_free = |port: &u16| std::net::UdpSocket::bind(("127.0.0.1", *port)).is_ok();
    let port = (47_000..48_000).find(is_free).expect("a free port");
    let address = format!("127.0.0.1:{port}");
    let mut observer = Observer::tail(&["--all"]);
    let mut server = Workload::start_ready(["hold", "udp", &address]);
    for _ in 0..2 {
        // A refusal starts a scan, which must not take the server for gone.
        let (refused, _) = run(["bind", "1", "udp", &address]);
        let event = observer.wait_for("the refusal", |event| {
            event["kind"] == "bind" && event["process"]["pid"] == refused.pid()
        });
        let holder = &event["holders"][0];
        assert_has(holder, &json!({"process": {"pid": server.pid()}, "inherited": false}));
        assert!(holder["since"].is_string(), "{event:#}");
    }
    server.signal(libc::SIGKILL);
    server.wait();
    wait_for_release(&mut observer, port.into());
    let events = observer.stop().events;
    assert_eq!(about_port(&events, "listen", port.into()).len(), 1, "{events}");
    let [release] = about_port(&events, "release", port.into())[..] else { panic!("{events}") };
    assert_has(release, &json!({"process": {"pid": server.pid()}}));
}

/// Whether bind(2) named the port: for its first server, and for a later one that names the same port.
fn ephemeral_or_chosen_port() {
    let mut observer = Observer::tail(&[]);
    let mut first = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let port = first.number("port");
    first.signal(libc::SIGKILL);
    first.wait();
    wait_for_release(&mut observer, port);
    let mut second = Workload::start_ready(["hold", "tcp", &format!("127.0.0.1:{port}")]);
    second.signal(libc::SIGKILL);
    second.wait();
    observer.exit_of(second.pid());
    let events = observer.stop().events;
    for kind in ["listen", "release"] {
        let marks: Vec<&Value> = about_port(&events, kind, port)
            .into_iter()
            .map(|event| &event["socket"]["ephemeral"])
            .collect();
        assert_eq!(marks, [&json!(true), &Value::Null], "{events}");
    }
}
