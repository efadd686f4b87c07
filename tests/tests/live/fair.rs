//! Whoever fills a ring loses first, and refusals that come again are counted.
//!
//! The reader is stopped while a storm fills a ring. What others do after that must come through.

use std::fs;
use std::os::unix::fs::chown;

use observer_tests::{Cgroup, Events, Finished, Observer, Workload, run};
use serde_json::Value;

crate::tests![
    deaths_beside_a_storm,
    deaths_beside_storms_of_three,
    deaths_beside_a_storm_in_own_groups needs MemoryCgroup,
    refusals_beside_a_storm,
    refusals_of_one_process_are_counted,
    refusals_of_processes_in_turn_are_told,
    a_listener_begins_beside_a_storm_of_refusals,
];

/// Users of the storms, and one who has nothing to do with them.
const STORM: [&str; 3] = ["61010", "61011", "61012"];
const OTHER: &str = "61020";

/// `words` as that user; ended.
fn by(user: &str, words: &[&str]) -> Workload {
    run([&["as-user", user], words].concat()).0
}

/// An observer that takes nothing out of its rings.
fn stopped_observer() -> Observer {
    let observer = Observer::tail(&[]);
    observer.freeze();
    observer
}

fn woken(observer: Observer) -> Finished {
    observer.thaw();
    observer.stop()
}

/// More deaths than a ring holds, of one user; then a few of another.
fn deaths_beside_a_storm() {
    let observer = stopped_observer();
    let storm = by(STORM[0], &["storm", "6000", "1", "named"]);
    let other = by(OTHER, &["storm", "100", "1"]);
    let events = woken(observer).events;
    events.assert_none_lost(&[other.pid()], 100);
    events.assert_all_reported(&[storm.pid(), other.pid()], 6100);
    assert!(events.lost_of("exit") > 0, "the ring was never full: {events}");
}

/// They share what each may have.
fn deaths_beside_storms_of_three() {
    let observer = stopped_observer();
    for user in STORM {
        by(user, &["storm", "4000", "1", "named"]);
    }
    let other = by(OTHER, &["storm", "100", "1"]);
    let events = woken(observer).events;
    events.assert_none_lost(&[other.pid()], 100);
}

/// A user who has been given a cgroup makes as many below it as he likes: they are one. What root made for another service of
/// this user is not.
fn deaths_beside_a_storm_in_own_groups() {
    let own = Cgroup::with_memory(1 << 30);
    let service = Cgroup::with_memory(1 << 30);
    chown(&own.dir, Some(61010), Some(61010)).expect("root may");
    let groups: Vec<Cgroup> = (0..40).map(|n| own.child(&n.to_string())).collect();
    let observer = stopped_observer();
    for group in &groups {
        run(["in-cgroup", group.arg(), "as-user", STORM[0], "storm", "150", "1", "named"]);
    }
    let (other, _) = run(["in-cgroup", service.arg(), "as-user", STORM[0], "storm", "100", "1"]);
    let events = woken(observer).events;
    events.assert_none_lost(&[other.pid()], 100);
    assert!(events.lost_of("exit") > 0, "the ring was never full: {events}");
}

/// The refusals of a process, and how many there were in all.
fn refusals(events: &Events, pid: u32) -> (Vec<&Value>, u64) {
    let of_it = |event: &&Value| event["kind"] == "bind" && event["process"]["pid"] == pid;
    let told: Vec<&Value> = events.all.iter().filter(of_it).collect();
    let sum = told.iter().map(|event| 1 + event["repeats"].as_u64().unwrap_or(0)).sum();
    (told, sum)
}

/// Refused at so many addresses that none comes again.
fn refusals_beside_a_storm() {
    let mut server = Workload::start_ready(["hold", "tcp", "0.0.0.0:0"]);
    let port = server.value("port");
    let observer = stopped_observer();
    let mut storm = by(STORM[0], &["many-refusals", "2000", &port]);
    assert_eq!(storm.value("refused"), "2000");
    let mut other = by(OTHER, &["many-refusals", "50", &port]);
    assert_eq!(other.value("refused"), "50");
    let events = woken(observer).events;
    let (told, sum) = refusals(&events, other.pid());
    assert_eq!((told.len(), sum), (50, 50), "{events}");
    let (_, of_storm) = refusals(&events, storm.pid());
    assert!(of_storm < 2000 && of_storm + events.lost() >= 2000, "{of_storm}: {events}");
}

/// The first are told at once, the sum is exact, and nothing is lost.
fn refusals_of_one_process_are_counted() {
    let mut server = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", server.value("port"));
    let mut observer = Observer::tail(&[]);
    let mut refused = by(STORM[0], &["bind", "20000", "tcp", &address]);
    assert_eq!(refused.number("refused"), 20_000);
    let pid = refused.pid();
    observer.wait_for("the first", |event| event["process"]["pid"] == pid);
    let events = observer.stop().events;
    let (told, sum) = refusals(&events, pid);
    assert_eq!((sum, events.lost_of("bind")), (20_000, 0), "{events}");
    assert!(told.len() < 200, "{} were told one by one", told.len());
    for event in told {
        assert_eq!(event["holders"][0]["process"]["pid"], server.pid(), "{event:#}");
    }
}

/// A crash loop: each of these processes is a new one.
fn refusals_of_processes_in_turn_are_told() {
    let mut server = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", server.value("port"));
    let mut observer = Observer::tail(&[]);
    for _ in 0..20 {
        let refused = by(OTHER, &["bind", "1", "tcp", &address]);
        let pid = refused.pid();
        observer.wait_for("its refusal", |event| {
            event["kind"] == "bind" && event["process"]["pid"] == pid
        });
    }
    let events = observer.stop().events;
    let repeats = events.all.iter().filter(|event| !event["repeats"].is_null()).count();
    assert_eq!(repeats, 0, "{events}");
}

/// Servers have a ring of their own.
fn a_listener_begins_beside_a_storm_of_refusals() {
    let mut server = Workload::start_ready(["hold", "tcp", "0.0.0.0:0"]);
    let port = server.value("port");
    let observer = stopped_observer();
    by(STORM[0], &["many-refusals", "2000", &port]);
    let mut beside = Workload::start_ready(["as-user", STORM[0], "hold", "tcp", "127.0.0.1:0"]);
    let served: u16 = beside.value("port").parse().expect("a port");
    let events = woken(observer).events;
    let listens =
        |event: &&Value| event["kind"] == "listen" && event["process"]["pid"] == beside.pid();
    let listen = events.all.iter().find(listens).unwrap_or_else(|| panic!("missing: {events}"));
    assert_eq!(listen["socket"]["port"], served, "{listen:#}");
    // Not read before, since the observer was stopped.
    assert!(fs::metadata(format!("/proc/{}", beside.pid())).is_ok(), "it still serves");
}
