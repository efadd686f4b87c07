//! More of one origin than is worth storing one by one: counted in the store, and everybody else's beside it in full.

use observer_tests::{Events, Observer, Place, Service, Workload, assert_has, ours::FLOODER, run};
use serde_json::{Value, json};

crate::tests![
    deaths_of_one_user_are_counted,
    a_flood_of_another_user_hides_no_death,
    without_the_limit_each_is_stored,
];

const SENT: u64 = 400;
const LIMIT: &str = "[flood]\nburst = 20\nper_second = 1\n";

/// A service with a small limit, and a client that wants all.
fn watch(settings: &str) -> (Place, Service, Observer) {
    let place = Place::new(&format!("[files]\nseal_seconds = 1\n{settings}"));
    let service = place.serve(&[]);
    let tail = place.tail(&["--all"]);
    (place, service, tail)
}

/// Words that the flooding user runs.
fn as_flooder(words: &[&str]) -> Vec<String> {
    let user = FLOODER.to_string();
    ["as-user", &user].into_iter().chain(words.iter().copied()).map(str::to_owned).collect()
}

/// How many events of this kind and user were told with a number, and how many were counted.
fn told_and_counted(events: &Events, kind: &str) -> (u64, u64) {
    let of_flooder = events.of_kind(kind).filter(|event| event["process"]["uid"] == FLOODER);
    let told = of_flooder.filter(|event| event["seq"].is_u64() && is_abnormal(event)).count();
    let floods = events.of_kind("flood").filter(|flood| flood["of"] == kind);
    (told as u64, floods.map(|flood| flood["count"].as_u64().expect("a count")).sum())
}

/// Not the orderly end of a workload itself.
fn is_abnormal(event: &Value) -> bool {
    event["kind"] != "exit" || event["status"]["code"] != 0
}

/// Waits until the flood is over and all of it is accounted for.
fn wait_for_all(tail: &mut Observer, kind: &str) -> (u64, u64) {
    tail.wait_until("the end of the flood", |events| {
        let (told, counted) = told_and_counted(events, kind);
        (told + counted + events.lost() + events.skipped() >= SENT).then_some((told, counted))
    })
}

/// In the order of their times.
fn exits_of(events: &Events, parent: &Workload) -> Vec<Value> {
    let mut exits: Vec<Value> = events.exits_of_children(parent.pid()).cloned().collect();
    exits.sort_by_key(|exit| exit["time"].as_str().map(str::to_owned));
    exits
}

fn deaths_of_one_user_are_counted() {
    let (place, service, mut tail) = watch(LIMIT);
    let (storm, _) = run(as_flooder(&["storm", &SENT.to_string(), "1"]));
    let (told, counted) = wait_for_all(&mut tail, "exit");
    assert_eq!(told + counted, SENT, "{told} told, {counted} counted");
    assert!(counted >= SENT / 2, "{told} told, {counted} counted");
    // Whoever asks for all gets each, once.
    let seen = tail.stop().events;
    let exits = exits_of(&seen, &storm);
    assert_eq!(exits.len() as u64, SENT, "{seen}");
    for exit in [exits.first(), exits.last()].into_iter().flatten() {
        assert!(exit["seq"].is_u64(), "the first and the last are stored: {exit:#}");
    }
    service.stop();
    place.verified();
    let stored = place.stored();
    stored.assert_unbroken();
    assert_eq!(told_and_counted(&stored.events, "exit"), (told, counted));
    let floods: Vec<&Value> = stored.events.of_kind("flood").collect();
    let last = floods.last().expect("it was a flood");
    let by_code = floods.iter().filter_map(|flood| flood["causes"]["exit_code"].as_u64());
    assert_eq!(by_code.sum::<u64>(), counted, "{floods:#?}");
    assert_has(last, &json!({"of": "exit", "uid": FLOODER}));
    assert!(last["example"].as_u64() < last["seq"].as_u64(), "{last:#}");
    // And whoever looks later is told of it.
    let log = place.text(&["log", "--kind", "flood", "--user", &FLOODER.to_string()]);
    assert_eq!(log.matches("FLOOD").count(), floods.len(), "{log}");
    let csv = place.text(&["log", "--kind", "flood", "--format", "csv"]);
    assert!(csv.contains("counted, not stored"), "{csv}");
    let page = place.path().join("page.html");
    place.text(&["report", "-o", page.to_str().expect("UTF-8")]);
    let page = std::fs::read_to_string(page).expect("it was written");
    assert!(page.contains("id=\"floods\""), "no floods in the report");
}

fn a_flood_of_another_user_hides_no_death() {
    let (place, service, mut tail) = watch(LIMIT);
    let mut storm = Workload::start(as_flooder(&["storm", &SENT.to_string(), "1"]));
    let root: Vec<Workload> = (0..10).map(|_| run(["exit", "3"]).0).collect();
    // What another user's signal ended is never counted, however many came before.
    let killed: Vec<Workload> = (0..10)
        .map(|_| {
            let mut child = Workload::start_ready(as_flooder(&["hold", "tcp", "127.0.0.1:0"]));
            child.signal(libc::SIGKILL);
            child.wait();
            child
        })
        .collect();
    storm.wait();
    for workload in root.iter().chain(&killed) {
        tail.exit_of(workload.pid());
    }
    tail.stop();
    service.stop();
    let stored = place.stored();
    for workload in &root {
        assert_eq!(stored.events.only_exit_of(workload.pid())["status"]["code"], 3);
    }
    for workload in &killed {
        let exit = stored.events.only_exit_of(workload.pid());
        assert_has(exit, &json!({"status": {"signal": 9}, "cause": {"type": "killed"}}));
    }
}

fn without_the_limit_each_is_stored() {
    let (place, service, mut tail) = watch("[flood]\nlimit = \"off\"\nburst = 20\n");
    let (storm, _) = run(as_flooder(&["storm", &SENT.to_string(), "1"]));
    wait_for_all(&mut tail, "exit");
    tail.stop();
    service.stop();
    let stored = place.stored();
    stored.events.assert_all_reported(&[storm.pid()], usize::try_from(SENT).expect("few"));
    assert_eq!(stored.events.of_kind("flood").count(), 0);
}
