//! A restart leaves no gap: what happens between two runs is told by the second, where a service manager keeps descriptors.

use std::collections::HashSet;
use std::time::Instant;

use observer_tests::{
    Kept, Place, Service, Stored, Workload, assert_has, patience, run, sys, wait_for_children,
};
use serde_json::{Value, json};

crate::tests![
    deaths_after_a_stop,
    deaths_after_a_kill,
    more_than_the_ring_holds,
    a_storm_across_restarts,
    a_sender_before_a_stop,
    a_sender_before_a_kill,
    a_refusal_between_two_runs,
    nothing_stays_attached_after_a_stop,
    descriptors_of_others,
    another_abi,
];

const BY_STOP: fn(Service) -> Kept = Service::stop_for_restart;
const BY_KILL: fn(Service) -> Kept = Service::kill_for_restart;

/// How many children of a process have an `exit`; none may have two.
fn told(stored: &Stored, parent: &Workload) -> usize {
    let mut seen = HashSet::new();
    for exit in stored.events.exits_of_children(parent.pid()) {
        let process = &exit["process"];
        assert!(seen.insert(process["pid"].as_u64()), "told twice: {exit:#}");
    }
    seen.len()
}

/// The first event of each run but the first.
fn later_sessions(stored: &Stored) -> Vec<&Value> {
    stored.events.of_kind("session").filter(|session| !session["after"].is_null()).collect()
}

/// Deaths before, between and after, which are alike: what is sent of the later ones refers to the first.
fn deaths_between(end: fn(Service) -> Kept) -> Stored {
    let place = Place::new("");
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let (before, _) = run(["storm", "200", "1"]);
    wait_for_children(&mut tail, &before, 200, 0);
    let kept = end(service);
    assert!(kept.names().len() > 8, "{kept:?}");
    let (between, _) = run(["storm", "300", "1"]);
    let service = place.serve_again(kept);
    let (after, _) = run(["storm", "100", "1"]);
    service.stop();
    let stored = place.stored();
    let counts = [&before, &between, &after].map(|parent| told(&stored, parent));
    assert_eq!(counts, [200, 300, 100], "{}", stored.events);
    for exit in stored.events.exits_of_children(between.pid()) {
        assert_has(exit, &json!({"process": {"comm": "workload", "uid": 0}}));
        assert!(exit["process"]["exe"].is_string(), "not whole: {exit:#}");
    }
    let sessions = later_sessions(&stored);
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["resumed"], true, "{:#}", sessions[0]);
    let (since, time) = (&sessions[0]["since"], &sessions[0]["time"]);
    assert!(since.as_str() < time.as_str() && since.is_string(), "{:#}", sessions[0]);
    place.verified();
    stored
}

fn deaths_after_a_stop() {
    let stored = deaths_between(BY_STOP);
    stored.assert_unbroken();
    assert_eq!(stored.events.lost() + stored.events.skipped(), 0, "{}", stored.events);
}

fn deaths_after_a_kill() {
    let stored = deaths_between(BY_KILL);
    // Other processes may have died at that moment: numbers that were not stored are told.
    assert!(stored.missing() <= stored.events.lost_of("unknown"), "{}", stored.events);
}

fn more_than_the_ring_holds() {
    let place = Place::new("");
    let kept = place.serve(&[]).stop_for_restart();
    let (storm, _) = run(["storm", "20000", "1"]);
    place.serve_again(kept).stop();
    let stored = place.stored();
    assert!(told(&stored, &storm) > 5000, "{}", stored.events);
    stored.events.assert_all_reported(&[storm.pid()], 20000);
    assert!(stored.events.lost_of("exit") > 0, "the ring is larger: {}", stored.events);
    stored.assert_unbroken();
}

fn a_storm_across_restarts() {
    let place = Place::new("");
    let mut service = place.serve(&[]);
    let mut storm = Workload::start(["storm", "20000", "1"]);
    for end in [BY_STOP, BY_KILL, BY_STOP, BY_KILL, BY_STOP] {
        let kept = end(service);
        service = place.serve_again(kept);
    }
    storm.wait();
    service.stop();
    let stored = place.stored();
    assert!(told(&stored, &storm) <= 20000);
    let unknown = usize::try_from(stored.events.lost_of("unknown")).expect("a count");
    let missing = 20000 - told(&stored, &storm);
    let lost = stored.events.lost_of("exit") + stored.events.skipped();
    let lost = usize::try_from(lost).expect("a count") + unknown;
    assert!(missing <= lost, "{missing} missing, {lost} lost; {}", stored.events);
    assert!(stored.missing() <= stored.events.lost_of("unknown"), "{}", stored.events);
    let sessions = later_sessions(&stored);
    assert_eq!(sessions.len(), 5);
    assert!(sessions.iter().all(|session| session["resumed"] == true), "{sessions:#?}");
    place.verified();
}

/// The signal is sent before, and the target dies of it after.
fn sender_before(end: fn(Service) -> Kept) {
    let place = Place::new("");
    let service = place.serve(&[]);
    let [mut between, mut after] = [0; 2].map(|_| Workload::start_ready(["wait"]));
    let senders = [&between, &after].map(|victim| {
        victim.signal(libc::SIGSTOP);
        sys::wait_for_stop(victim.pid());
        run(["send", "kill", "15", &victim.pid().to_string()]).0
    });
    let kept = end(service);
    between.signal(libc::SIGCONT);
    between.wait();
    let service = place.serve_again(kept);
    after.signal(libc::SIGCONT);
    after.wait();
    service.stop();
    let stored = place.stored();
    for (victim, sender) in [&between, &after].into_iter().zip(&senders) {
        let exit = stored.events.only_exit_of(victim.pid());
        let sender = json!({"pid": sender.pid(), "comm": "workload"});
        assert_has(exit, &json!({"cause": {"type": "killed", "sender": sender}}));
        assert_eq!(exit["cause"]["sender"]["args"][1], "send", "{exit:#}");
    }
}

fn a_sender_before_a_stop() {
    sender_before(BY_STOP);
}

fn a_sender_before_a_kill() {
    sender_before(BY_KILL);
}

/// Told once, although both programs may see it. Who was in the way is found only if the next scan comes soon enough.
fn a_refusal_between_two_runs() {
    let place = Place::new("");
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let kept = place.serve(&[]).stop_for_restart();
    let (refused, _) = run(["bind", "1", "tcp", &address]);
    let service = place.serve_again(kept);
    let mut tail = place.tail(&[]);
    let (again, _) = run(["bind", "1", "tcp", &address]);
    let event = tail.wait_for("the refusal", |event| {
        event["kind"] == "bind" && event["process"]["pid"] == again.pid()
    });
    assert_eq!(event["holders"][0]["process"]["pid"], holder.pid(), "{event:#}");
    service.stop();
    let stored = place.stored();
    for workload in [&refused, &again] {
        let of = |event: &&Value| event["process"]["pid"] == workload.pid();
        let binds: Vec<_> = stored.events.of_kind("bind").filter(of).collect();
        assert_eq!(binds.len(), 1, "{}", stored.events);
        assert_has(binds[0], &json!({"call": "bind", "error": {"name": "EADDRINUSE"}}));
    }
}

fn nothing_stays_attached_after_a_stop() {
    let before = sys::links();
    let place = Place::new("");
    let kept = place.serve(&[]).stop_for_restart();
    let attached = sys::links();
    assert!(attached > before, "{attached} links, {before} before: a restart would find none");
    let kept = place.serve_again(kept).kill_for_restart();
    // Those of the first run are gone once the kernel has got round to it.
    wait_for_links(attached);
    drop(kept);
    wait_for_links(before);
}

/// Waits until so many programs are attached, or fewer.
fn wait_for_links(most: usize) {
    let deadline = Instant::now() + patience::limit();
    while sys::links() > most {
        assert!(Instant::now() < deadline, "{} links, not {most}", sys::links());
        std::thread::yield_now();
    }
}

fn assert_begins_anew(place: &Place, kept: Kept) {
    let service = place.serve_again(kept);
    let (deaths, _) = run(["storm", "50", "1"]);
    let kept = service.stop_for_restart();
    assert!(kept.names().iter().any(|name| name.ends_with(".links")), "{kept:?}");
    let stored = place.stored();
    assert_eq!(told(&stored, &deaths), 50, "{}", stored.events);
    stored.assert_unbroken();
}

/// The beginning of the names under which a service has its descriptors kept: `observer.ABI.`.
fn beginning(kept: &Kept) -> String {
    let names = kept.names();
    let words: Vec<&str> = names[0].split('.').collect();
    format!("{}.{}.", words[0], words[1])
}

fn descriptors_of_others() {
    let place = Place::new("");
    let beginning = beginning(&place.serve(&[]).stop_for_restart());
    let mut kept = Kept::default();
    for name in ["connection", "stored"] {
        kept.add(name, "/dev/null");
    }
    for part in ["7.links", "7.maps", "7.ledger", "7.other", "links"] {
        kept.add(&format!("{beginning}{part}"), "/dev/null");
    }
    kept.add(&format!("{beginning}8.ledger"), "/proc/self/exe");
    assert_begins_anew(&place, kept);
    let stored = place.stored();
    let session = later_sessions(&stored)[0];
    assert!(session["resumed"].is_null(), "{session:#}");
}

fn another_abi() {
    let place = Place::new("");
    let mut kept = place.serve(&[]).stop_for_restart();
    kept.rename(&beginning(&kept), "observer.999.");
    run(["storm", "10", "1"]);
    assert_begins_anew(&place, kept);
    let stored = place.stored();
    let session = later_sessions(&stored)[0];
    assert_eq!(session["resumed"], true, "{session:#}");
}
