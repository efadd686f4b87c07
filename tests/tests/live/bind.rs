//! Refused binds and listens: who holds the address, or that nobody does.

use observer_tests::{Events, Finished, Observer, Workload, assert_has, run};
use serde_json::{Value, json};

crate::tests![
    same_address,
    holder_started_before_the_observer,
    zombie_is_not_a_holder,
    refused_process_is_not_reported_as_zombie,
    wildcards,
    ipv4_against_ipv6,
    reuse_option_on_one_side_only,
    reuseport_of_another_user,
    bound_to_a_device,
    datagrams,
    multipath needs Mptcp,
    unix_paths_and_abstract_names,
    client_is_not_a_holder,
    all_sharers_are_holders,
    orphan_is_a_holder,
    refused_by_its_own_socket,
    refused_by_its_own_socket_and_exited,
    holder_killed_right_after_the_refusal,
    time_wait_of_a_server_without_reuseaddr,
    listen_refused_after_a_successful_bind,
    time_wait,
    half_closed_connection,
    bound_but_not_listening,
    stale_socket_file,
    privileged_port,
    privileged_port_in_another_network_namespace,
    address_not_local,
    refusals_5000,
];

/// The `bind` events of that process.
fn refusals(events: &Events, pid: u32) -> Vec<&Value> {
    events.of_kind("bind").filter(|event| event["process"]["pid"] == pid).collect()
}

/// Runs a workload that is refused and returns its only `bind` event. Checks call and errno.
pub(crate) fn refused(words: &[&str]) -> Value {
    refused_under(Observer::tail(&[]), words)
}

/// The same under an observer that was running when the port was taken.
fn refused_under(mut observer: Observer, words: &[&str]) -> Value {
    let (mut workload, ended) = run(words);
    assert_eq!(ended.code(), Some(0), "{words:?} was not refused");
    let pid = workload.pid();
    observer
        .wait_for("the refusal", |event| event["kind"] == "bind" && event["process"]["pid"] == pid);
    let Finished { events, .. } = observer.stop();
    let [event] = refusals(&events, pid)[..] else { panic!("not one refusal; {events}") };
    let errno = workload.number("errno");
    let expected = json!({"call": workload.value("call"), "error": {"errno": errno}});
    assert_has(event, &expected);
    event.clone()
}

pub(crate) fn pids(holders: &Value) -> Vec<u64> {
    let holders = holders.as_array().expect("holders");
    let mut pids: Vec<_> =
        holders.iter().filter_map(|holder| holder["process"]["pid"].as_u64()).collect();
    pids.sort_unstable();
    pids
}

/// `holder_words` hold a port, `refused_words` are refused (`PORT` is the holder's port). The event must have
/// `expected`.
fn held(holder_words: &[&str], refused_words: &str, expected: &Value) -> Value {
    let observer = Observer::tail(&[]);
    let mut holder = Workload::start_ready(holder_words);
    let port = holder.value("port");
    let words = refused_words.replace("PORT", &port);
    let event = refused_under(observer, &words.split(' ').collect::<Vec<_>>());
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    let holder = json!({
        "process": {"pid": holder.pid(), "comm": "workload"},
        "fd": holder.number("fd"),
        "relation": "sibling",
    });
    let rest = json!({
        "holders": [holder],
        "cause": {"type": "held"},
        "error": {"name": "EADDRINUSE"},
    });
    assert_has(&event, &rest);
    assert_has(&event, expected);
    event
}

fn same_address() {
    let event = held(
        &["hold", "tcp", "127.0.0.1:0"],
        "bind 1 tcp 127.0.0.1:PORT",
        &json!({"call": "bind", "socket": {"protocol": "tcp", "address": "127.0.0.1"}}),
    );
    assert!(event["socket"]["port"].as_u64().is_some_and(|port| port > 0), "{event:#}");
    assert_has(&event["holders"][0], &json!({"inherited": false}));
    let since = event["holders"][0]["since"].as_str().expect("it was seen to begin");
    assert!(Some(since) < event["time"].as_str(), "{event:#}");
    let address = json!({"socket": {"address": "::1"}});
    held(&["hold", "tcp", "[::1]:0"], "bind 1 tcp [::1]:PORT", &address);
}

/// The observer did not see the `listen`: it must not invent `since` and `inherited`.
fn holder_started_before_the_observer() {
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let event = refused(&["bind", "1", "tcp", &format!("127.0.0.1:{}", holder.value("port"))]);
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    let holder = &event["holders"][0];
    for key in ["since", "inherited"] {
        let reported = !holder[key].is_null() || !holder["missing"][key].is_null();
        assert!(reported, "{key} is missing without a reason: {holder:#}");
    }
}

/// Waits for the only refusal of a process that lives on or stays a zombie.
fn refusal_of(mut observer: Observer, pid: u32) -> Value {
    let about_it = |event: &Value| event["kind"] == "bind" && event["process"]["pid"] == pid;
    observer.wait_for("the refusal", about_it);
    let Finished { events, .. } = observer.stop();
    let [event] = refusals(&events, pid)[..] else { panic!("not one refusal; {events}") };
    event.clone()
}

/// A zombie holds no port. The evidence says so when there is one.
fn zombie_is_not_a_holder() {
    let observer = Observer::tail(&[]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let mut parent = Workload::start_ready(["with-zombie", "bind-stay", "tcp", &address]);
    let zombie = parent.pid_of("child_pid");
    let event = refusal_of(observer, parent.pid());
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    let evidence = event["cause"]["evidence"].to_string();
    let named = evidence.contains("zombie") && evidence.contains(&zombie.to_string());
    assert!(named, "nothing of zombie {zombie} in {evidence}");
}

/// The refused process itself became a zombie: the evidence must not mention it.
fn refused_process_is_not_reported_as_zombie() {
    let observer = Observer::tail(&[]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let mut parent = Workload::start_ready(["unreaped", "bind", "1", "tcp", &address]);
    let event = refusal_of(observer, parent.pid_of("child_pid"));
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    let evidence = event["cause"]["evidence"].to_string();
    assert!(!evidence.contains("zombie"), "{event:#}");
}

fn wildcards() {
    held(&["hold", "tcp", "0.0.0.0:0"], "bind 1 tcp 127.0.0.1:PORT", &json!({}));
    held(&["hold", "tcp", "127.0.0.1:0"], "bind 1 tcp 0.0.0.0:PORT", &json!({}));
}

fn ipv4_against_ipv6() {
    held(&["hold", "tcp", "[::]:0"], "bind 1 tcp 0.0.0.0:PORT", &json!({}));
    held(&["hold", "tcp", "[::]:0"], "bind 1 tcp 127.0.0.1:PORT", &json!({}));
    held(&["hold", "tcp", "127.0.0.1:0"], "bind 1 tcp [::]:PORT", &json!({}));
    held(&["hold", "tcp", "[::]:0", "v6only"], "bind 1 tcp [::]:PORT", &json!({}));
}

fn reuse_option_on_one_side_only() {
    let plain = ["hold", "tcp", "127.0.0.1:0"];
    let shared = ["hold", "tcp", "127.0.0.1:0", "reuseport"];
    held(&plain, "bind 1 tcp 127.0.0.1:PORT reuseport", &json!({}));
    held(&shared, "bind 1 tcp 127.0.0.1:PORT", &json!({}));
    held(&plain, "bind 1 tcp 127.0.0.1:PORT reuseaddr", &json!({}));
}

fn reuseport_of_another_user() {
    held(
        &["as-user", "12345", "hold", "tcp", "127.0.0.1:0", "reuseport"],
        "as-user 54321 bind 1 tcp 127.0.0.1:PORT reuseport",
        &json!({"process": {"uid": 54321}}),
    );
}

fn bound_to_a_device() {
    held(&["hold", "tcp", "0.0.0.0:0", "device=lo"], "bind 1 tcp 0.0.0.0:PORT", &json!({}));
}

fn datagrams() {
    let socket = json!({"socket": {"protocol": "udp"}});
    held(&["hold", "udp", "127.0.0.1:0"], "bind 1 udp 127.0.0.1:PORT", &socket);
}

fn multipath() {
    let mptcp = ["hold", "tcp", "127.0.0.1:0", "mptcp"];
    held(&mptcp, "bind 1 tcp 127.0.0.1:PORT", &json!({"socket": {"protocol": "tcp"}}));
    let socket = json!({"socket": {"protocol": "tcp", "mptcp": true}});
    held(&["hold", "tcp", "127.0.0.1:0"], "bind 1 tcp 127.0.0.1:PORT mptcp", &socket);
}

fn unix_paths_and_abstract_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").display().to_string();
    let socket = json!({"socket": {"protocol": "unix", "path": path}});
    held(&["hold", "unix", &path], &format!("bind 1 unix {path}"), &socket);
    held(&["hold", "abstract", "observer-test"], "bind 1 abstract observer-test", &json!({}));
}

fn client_is_not_a_holder() {
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let _client = Workload::start_ready(["client", &address]);
    let event = refused(&["bind", "1", "tcp", &address]);
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
}

fn all_sharers_are_holders() {
    let observer = Observer::tail(&[]);
    let mut parent = Workload::start_ready(["sharers", "tcp", "127.0.0.1:0"]);
    let child = parent.pid_of("child_pid");
    let address = format!("127.0.0.1:{}", parent.value("port"));
    let event = refused_under(observer, &["bind", "1", "tcp", &address]);
    let mut both = [u64::from(parent.pid()), u64::from(child)];
    both.sort_unstable();
    assert_eq!(pids(&event["holders"]), both, "{event:#}");
    for holder in event["holders"].as_array().expect("holders") {
        assert_eq!(holder["inherited"], json!(holder["process"]["pid"] == child), "{event:#}");
    }
}

fn orphan_is_a_holder() {
    let observer = Observer::tail(&[]);
    let mut parent = Workload::start(["orphan", "tcp", "127.0.0.1:0"]);
    parent.wait();
    let child = parent.pid_of("child_pid");
    let address = format!("127.0.0.1:{}", parent.value("port"));
    let event = refused_under(observer, &["bind", "1", "tcp", &address]);
    let holder = json!({"process": {"pid": child}, "relation": "orphan", "inherited": true});
    assert_has(&event, &json!({"holders": [holder], "cause": {"type": "held"}}));
}

fn refused_by_its_own_socket() {
    let observer = Observer::tail(&[]);
    let workload = Workload::start_ready(["bind-twice", "stay", "127.0.0.1:0"]);
    let event = refusal_of(observer, workload.pid());
    let holder = json!({"process": {"pid": workload.pid()}, "relation": "self"});
    assert_has(&event, &json!({"holders": [holder], "cause": {"type": "held"}}));
}

/// The process is gone before a scan: it is still named, and "try again" is not advised.
fn refused_by_its_own_socket_and_exited() {
    let event = refused(&["bind-twice", "leave", "127.0.0.1:0"]);
    let cause = &event["cause"];
    assert_eq!(cause["type"], "held", "{cause:#}");
    let itself = &event["process"]["pid"];
    let holder = event["holders"].as_array().and_then(|holders| holders.first());
    let named = holder.map_or(&cause["left_by"]["pid"], |holder| &holder["process"]["pid"]);
    assert_eq!(named, itself, "{event:#}");
    let remedy = cause["remedy"].to_string();
    assert!(!remedy.contains("try again"), "it would be in its own way again: {cause:#}");
}

/// The holder is killed right after the refusal.
fn holder_killed_right_after_the_refusal() {
    let observer = Observer::tail(&[]);
    let mut pair = Workload::start(["hold-and-go", "127.0.0.1:0"]);
    let (holder, refused) = (pair.pid_of("holder_pid"), pair.pid_of("refused_pid"));
    let event = refusal_of(observer, refused);
    assert_eq!(event["cause"]["type"], "held", "{event:#}");
    let listed = event["holders"].as_array().and_then(|holders| holders.first());
    let left_by = &event["cause"]["left_by"]["pid"];
    let named = listed.map_or(left_by, |listed| &listed["process"]["pid"]);
    assert_eq!(*named, json!(holder), "{event:#}");
}

/// `SO_REUSEADDR` helps only when the old connections had it too.
fn time_wait_of_a_server_without_reuseaddr() {
    let (mut gone, _) = run(["time-wait", "127.0.0.1:0", "plain"]);
    let address = format!("127.0.0.1:{}", gone.value("port"));
    let event = refused(&["bind", "1", "tcp", &address, "reuseaddr"]);
    assert_nobody(&event, "time_wait");
    let remedy = event["cause"]["remedy"].as_str().unwrap_or_default();
    assert!(remedy.contains("wait"), "{remedy}");
}

fn listen_refused_after_a_successful_bind() {
    for whom in ["self", "other"] {
        let mut observer = Observer::tail(&[]);
        let words = ["listen-fails", whom, "tcp", "127.0.0.1:0", "reuseaddr"];
        let mut workload = Workload::start_ready(words);
        let pid = workload.pid();
        let event = observer.wait_for("the refusal", |event| {
            event["kind"] == "bind" && event["process"]["pid"] == pid
        });
        observer.stop();
        let (holder, relation) = match whom {
            "self" => (pid, "self"),
            _ => (workload.pid_of("child_pid"), "child"),
        };
        let holder = json!({"process": {"pid": holder}, "relation": relation});
        let port = workload.number("port");
        let expected = json!({
            "call": "listen",
            "socket": {"protocol": "tcp", "address": "127.0.0.1", "port": port},
            "holders": [holder],
            "cause": {"type": "held"},
        });
        assert_has(&event, &expected);
    }
}

/// There is no holder, and the event says so.
pub(crate) fn assert_nobody(event: &Value, cause: &str) {
    assert_has(event, &json!({"holders": [], "cause": {"type": cause}}));
}

fn time_wait() {
    let (mut gone, _) = run(["time-wait", "127.0.0.1:0"]);
    let event = refused(&["bind", "1", "tcp", &format!("127.0.0.1:{}", gone.value("port"))]);
    assert_nobody(&event, "time_wait");
}

fn half_closed_connection() {
    let mut client = Workload::start_ready(["half-closed", "127.0.0.1:0"]);
    let event = refused(&["bind", "1", "tcp", &format!("127.0.0.1:{}", client.value("port"))]);
    assert_nobody(&event, "closing");
}

fn bound_but_not_listening() {
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0", "bind-only"]);
    let event = refused(&["bind", "1", "tcp", &format!("127.0.0.1:{}", holder.value("port"))]);
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    assert_has(&event, &json!({"cause": {"type": "bound_not_listening"}}));
}

fn stale_socket_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").display().to_string();
    let (_gone, _) = run(["stale", &path]);
    assert_nobody(&refused(&["bind", "1", "unix", &path]), "stale_socket_file");
}

fn privileged_port() {
    let event = refused(&["in-netns", "as-user", "65534", "bind", "1", "tcp", "127.0.0.1:80"]);
    assert_nobody(&event, "permission");
    assert_has(&event, &json!({"error": {"name": "EACCES"}, "socket": {"port": 80}}));
}

/// The first unprivileged port belongs to the network namespace of the refused process.
fn privileged_port_in_another_network_namespace() {
    let mut observer = Observer::tail(&[]);
    let words = ["in-netns", "as-user", "65534", "bind-stay", "tcp", "127.0.0.1:80"];
    let workload = Workload::start_ready(words);
    let event = observer.wait_for("the refusal", |event| event["kind"] == "bind");
    assert_has(&event, &json!({"cause": {"type": "permission", "confidence": "certain"}}));
    assert_eq!(event["process"]["pid"], workload.pid());
    let summary = event["cause"]["summary"].as_str().expect("a text");
    assert!(summary.contains("below 1024"), "{event:#}");
}

fn address_not_local() {
    let event = refused(&["in-netns", "bind", "1", "tcp", "192.0.2.1:8080"]);
    assert_nobody(&event, "address_not_local");
    assert_has(&event, &json!({"error": {"name": "EADDRNOTAVAIL"}, "socket": {"port": 8080}}));
}

/// A crash loop: each refusal is reported, counted by one that is, or lost.
fn refusals_5000() {
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let mut observer = Observer::tail(&["--all"]);
    let (mut workload, _) = run(["bind", "5000", "tcp", &address]);
    assert_eq!(workload.number("refused"), 5000);
    observer.exit_of(workload.pid());
    let events = observer.stop().events;
    let reported = refusals(&events, workload.pid());
    let (lost, refused) =
        (events.lost(), reported.iter().map(|event| count_of(event)).sum::<u64>());
    assert!(refused <= 5000 && refused + lost >= 5000, "{refused} reported, {lost} lost");
    assert!(lost > 0 || refused == 5000, "{refused} reported, none lost");
    for event in reported {
        assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    }
}

/// How many refusals an event stands for.
fn count_of(event: &Value) -> u64 {
    1 + event["repeats"].as_u64().unwrap_or(0)
}
