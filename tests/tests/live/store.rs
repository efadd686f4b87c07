//! The store: whole after every end, numbered without a gap, sealed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use observer_tests::{Place, Stored, Workload, patience, run};
use serde_json::Value;

crate::tests![
    killed_at_random_moments,
    killed_while_a_segment_is_created,
    stopped_and_started_again,
    stop_writes_all_earlier_events,
    torn_line_is_set_aside,
    deaths_100000,
    segments_are_retired_by_size,
    segments_are_retired_by_age,
    files_belong_to_root_and_adm,
];

/// Small segments, so that each round closes some.
const SMALL: &str = "exits = \"all\"\n[files]\nsegment_bytes = 65536\nseal_seconds = 1\n";

/// A random time from 0 to 255 ms. A failing test prints it.
fn random_moment(round: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let mixed = (u64::from(now.subsec_nanos()) ^ round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_millis(mixed >> 56)
}

fn sessions(stored: &Stored) -> Vec<&Value> {
    stored.events.of_kind("session").collect()
}

/// After each kill the store verifies, and the next run continues with the next number.
fn killed_at_random_moments() {
    let place = Place::new(SMALL);
    let mut known = 0;
    for round in 0..25 {
        let service = place.serve(&[]);
        let mut storm = Workload::start(["storm", "600", "1"]);
        let moment = patience::slowed(random_moment(round));
        thread::sleep(moment);
        service.kill();
        storm.wait();
        place.verified();
        let output = place.output(&["log", "--json"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let stored = Stored::read(&text);
        stored.assert_unbroken();
        let last = stored.all.last().map_or(0, |(seq, _)| *seq);
        assert!(last >= known, "round {round}, killed after {moment:?}: {known} became {last}");
        known = last;
        for session in sessions(&stored) {
            let after = &session["after"];
            assert!(after.is_null() || after["stopped"] == false, "round {round}: {session:#}");
        }
    }
    assert!(known > 1000, "only {known} events: nothing is proven");
    place.serve(&[]).stop();
    let stored = place.stored();
    // A full segment is followed by another one of the same run.
    let mut runs = sessions(&stored).into_iter().filter(|session| !session["after"].is_null());
    let last = runs.next_back().expect("a session").clone();
    stored.assert_unbroken();
    assert_eq!(last["after"]["stopped"], false, "{last:#}");
    assert_eq!(last["after"]["seq"], last["seq"].as_u64().expect("a number") - 1, "{last:#}");
}

/// A crash between a new segment's file and its first seal leaves an empty segment, which needs no proof.
fn killed_while_a_segment_is_created() {
    let seals: [Option<&str>; 3] = [None, Some(""), Some("{\"time\":\"2026-")];
    for seals in seals {
        let place = Place::new(SMALL);
        place.serve(&[]).kill();
        let stem = place.dir().join("observer-000002-20260101T000000Z");
        fs::write(stem.with_extension("jsonl"), "").expect("room");
        if let Some(text) = seals {
            fs::write(stem.with_extension("seals"), text).expect("room");
        }
        let service = place.serve(&[]);
        let (_marker, _) = run(["exit", "1"]);
        service.stop();
        place.verified();
        place.stored().assert_unbroken();
    }
}

fn stopped_and_started_again() {
    let place = Place::new(SMALL);
    let mut ends = Vec::new();
    for _ in 0..3 {
        let service = place.serve(&[]);
        // Events without a seal follow the one that says that the last run was stopped.
        place.verified();
        let (marker, _) = run(["exit", "3"]);
        ends.push(marker.pid());
        service.stop();
        place.verified();
    }
    let stored = place.stored();
    stored.assert_unbroken();
    for pid in ends {
        stored.events.only_exit_of(pid);
    }
    let after: Vec<_> =
        sessions(&stored).iter().filter_map(|s| s["after"]["stopped"].as_bool()).collect();
    assert_eq!(after, [true, true]);
}

fn stop_writes_all_earlier_events() {
    let place = Place::new(SMALL);
    let service = place.serve(&[]);
    let tail = place.tail(&["--kind", "exit"]);
    let (storm, _) = run(["storm", "300", "4"]);
    let (last, _) = run(["exit", "5"]);
    service.stop();
    let stored = place.stored();
    stored.events.assert_all_reported(&[storm.pid()], 300);
    stored.events.only_exit_of(last.pid());
    let reported = tail.finish_after_the_service().events;
    reported.assert_all_reported(&[storm.pid()], 300);
    reported.only_exit_of(last.pid());
    let seals = newest(&place, "seals");
    let line = seals.lines().last().expect("a seal");
    let seal: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(seal["stopped"], true, "{seal}");
}

/// The content of the newest file with that ending.
fn newest(place: &Place, ending: &str) -> String {
    let names = place.names();
    let name = names.iter().rfind(|name| name.ends_with(&format!(".{ending}")));
    fs::read_to_string(place.dir().join(name.expect("one"))).expect("readable")
}

fn torn_line_is_set_aside() {
    // One segment: beside load a small one is closed at any moment, and what is added to a closed one is no torn end.
    let place = Place::new("exits = \"all\"\n[files]\nseal_seconds = 1\n");
    let service = place.serve(&[]);
    let (_storm, _) = run(["storm", "5", "1"]);
    service.kill();
    let names = place.names();
    let name = names.iter().rfind(|name| name.ends_with(".jsonl")).expect("a segment");
    let path = place.dir().join(name);
    let whole = fs::read(&path).expect("readable");
    let torn = b"{\"schema\":1,\"seq\":99999,\"ti";
    fs::write(&path, [&whole[..], torn].concat()).expect("room");
    place.serve(&[]).stop();
    let report = place.verified();
    assert!(report["notes"].to_string().contains("torn"), "{report:#}");
    place.stored().assert_unbroken();
    let aside = path.with_extension("torn");
    assert_eq!(fs::read(aside).expect("it is kept"), torn);
}

fn deaths_100000() {
    const SENT: usize = 100_000;
    let settings =
        "[files]\nsegment_bytes = 8388608\nkeep_bytes = 4294967296\n[flood]\nlimit = \"off\"\n";
    let place = Place::new(settings);
    let service = place.serve(&["--exits", "all"]);
    let mut storms = Vec::new();
    // Each within the limit of one step.
    for _ in 0..20 {
        let (mut storm, _) = run(["storm".to_owned(), (SENT / 20).to_string(), "0".to_owned()]);
        assert_eq!(storm.number("total"), 5000);
        storms.push(storm);
    }
    place.wait_compressed(3);
    service.stop();
    place.verified();
    let stored = place.stored();
    let lost = stored.events.lost() + stored.events.skipped();
    let lost = usize::try_from(lost).expect("a count");
    assert_eq!(stored.missing(), 0, "a loss in the kernel leaves no gap in seq");
    let mut reported = 0;
    for storm in &storms {
        reported += stored.events.exits_of_children(storm.pid()).count();
    }
    assert!(
        reported <= SENT && reported + lost >= SENT,
        "{reported} reported, {lost} lost of {SENT}"
    );
    assert!(lost > 0 || reported == SENT, "{reported} reported of {SENT}, none lost");
}

/// A segment that is removed for its size leaves a note, unlike one that somebody removed.
fn segments_are_retired_by_size() {
    let settings = "exits = \"all\"\n[files]\nsegment_bytes = 65536\nkeep_bytes = 131072\n";
    let place = Place::new(settings);
    let service = place.serve(&[]);
    let deadline = Instant::now() + patience::limit();
    while place.names().iter().any(|name| name.starts_with("observer-000001")) {
        assert!(Instant::now() < deadline, "the first segment stays");
        let (_storm, _) = run(["storm", "200", "1"]);
    }
    service.stop();
    let report = place.verified();
    assert!(report["retired"].as_u64().is_some_and(|number| number >= 1), "{report:#}");
    place.stored().assert_unbroken();
    // After another run too.
    place.serve(&[]).stop();
    place.verified();
}

/// 0640 root:adm in a 0750 folder, whatever the umask.
fn files_belong_to_root_and_adm() {
    let place = Place::new(SMALL);
    let service = place.serve(&[]);
    let deadline = Instant::now() + patience::limit();
    while place.compressed() == 0 {
        assert!(Instant::now() < deadline, "nothing is compressed");
        let (_storm, _) = run(["storm", "100", "1"]);
    }
    let adm = group("adm");
    let socket = fs::metadata(place.socket()).expect("it listens");
    service.stop();
    let folder = fs::metadata(place.dir()).expect("it is there");
    assert_eq!((folder.mode() & 0o7777, folder.uid(), folder.gid()), (0o750, 0, adm));
    assert_eq!((socket.mode() & 0o7777, socket.uid(), socket.gid()), (0o660, 0, adm));
    let names = place.names();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let file = fs::metadata(place.dir().join(&name)).expect("it is there");
        // Who can open the lock can hold it.
        let readable = if name == "observer.lock" { (0o600, 0, 0) } else { (0o640, 0, adm) };
        assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), readable, "{name}");
    }
}

fn group(name: &str) -> u32 {
    let text = fs::read_to_string("/etc/group").expect("there are groups");
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:")));
    let id = line.and_then(|line| line.split(':').nth(2)).and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("no group {name}"))
}

/// A file older than `keep_days` is removed, with a note, whatever its size.
fn segments_are_retired_by_age() {
    let place = Place::new("[files]\nsegment_bytes = 16384\nseal_seconds = 1\nkeep_days = 7\n");
    let service = place.serve(&[]);
    let deadline = Instant::now() + patience::limit();
    while place.compressed() < 3 {
        assert!(Instant::now() < deadline, "nothing is compressed");
        let (_storm, _) = run(["storm", "50", "1"]);
    }
    place.wait_compressed(3);
    service.stop();
    let segments = |place: &Place| -> Vec<String> {
        place.names().into_iter().filter(|name| name.ends_with(".jsonl.zst")).collect()
    };
    let before = segments(&place);
    for (name, days) in before.iter().zip([9, 8, 6]) {
        let file = fs::File::options().write(true).open(place.dir().join(name)).expect("there");
        let age = Duration::from_secs(days * 24 * 3600);
        file.set_modified(SystemTime::now() - age).expect("it is ours");
    }
    let service = place.serve(&[]);
    let deadline = Instant::now() + patience::limit();
    while place.dir().join(&before[1]).exists() {
        assert!(Instant::now() < deadline, "it is kept: {:?}", place.names());
        thread::sleep(Duration::from_millis(20));
    }
    service.stop();
    let after = segments(&place);
    assert!(!after.contains(&before[0]) && after.contains(&before[2]), "{before:?}: {after:?}");
    let report = place.verified();
    assert!(report["retired"].as_u64().is_some_and(|number| number >= 2), "{report:#}");
}
