//! Folders after crashes, disk errors and tampering.

use std::{fs, path::Path};

use jiff::Timestamp;

use super::{
    Folder, Segment,
    chain::Hash,
    open,
    query::{Flow, Query},
    seal::{Previous, What, Why},
    segment::Current,
    verify::{VerifyReport, verify},
};
use crate::filter::Filter;

/// What these events are dated; no test here asks for it.
const TIMES: (Timestamp, Timestamp) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);

/// A closed segment of one event.
fn segment(folder: &Folder, last: Option<&Segment>, previous: Option<Previous>) -> Current {
    let segment = folder.next(last, Timestamp::UNIX_EPOCH);
    let line = line(segment.number, "2026-11-22T14:32:15.000000000Z");
    let mut current = Current::create(folder, segment, previous).expect("room");
    current.append(line.as_bytes(), &[Hash::of(line.as_bytes())], TIMES).expect("room");
    current.seal(folder, Why::Closed).expect("room");
    current
}

fn line(seq: u64, time: &str) -> String {
    format!(
        "{{\"schema\":1,\"seq\":{seq},\"time\":\"{time}\",\"kind\":\"loss\",\"boot_id\":\"b\",\"host\":\"h\",\
         \"lost\":{{\"exit\":18446744073709551615,\"oom\":1}},\"from\":\"{time}\",\"to\":\"{time}\",\"reason\":\"r\"}}\n"
    )
}

fn three(dir: &Path) -> (Folder, Vec<Segment>) {
    let folder = Folder::at(dir);
    let (mut last, mut previous): (Option<Segment>, Option<Previous>) = (None, None);
    for _ in 0..3 {
        let current = segment(&folder, last.as_ref(), previous);
        (last, previous) = (Some(current.segment.clone()), Some(current.previous()));
    }
    let segments = folder.segments().expect("readable");
    assert_eq!(faults(&verify(&folder).expect("a report")), [""; 0]);
    (folder, segments)
}

fn faults(report: &VerifyReport) -> Vec<String> {
    report.faults.iter().map(|fault| fault.what.clone()).collect()
}

fn compress(segment: &Segment) -> std::path::PathBuf {
    let plain = segment.events.clone().expect("events");
    let packed = plain.with_extension("jsonl.zst");
    fs::write(&packed, zstd::encode_all(&fs::read(&plain).expect("events")[..], 3).expect("zstd"))
        .expect("room");
    fs::remove_file(plain).expect("there");
    packed
}

#[test]
fn a_broken_compressed_segment_is_a_fault_and_the_others_are_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, segments) = three(dir.path());
    let packed = compress(&segments[1]);
    assert_eq!(faults(&verify(&folder).expect("a report")), [""; 0]);
    let mut bytes = fs::read(&packed).expect("there");
    bytes.truncate(bytes.len() - 6);
    fs::write(&packed, bytes).expect("room");
    let report = verify(&folder).expect("a report");
    assert_eq!((report.segments, report.faults.len()), (3, 1), "{:?}", report.faults);
    assert!(report.faults[0].what.contains("can't read all of"), "{:?}", report.faults);
}

#[test]
fn a_leftover_of_a_retired_segment_hides_no_missing_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::at(dir.path());
    let first = segment(&folder, None, None);
    let next = folder.next(Some(&first.segment), Timestamp::UNIX_EPOCH);
    let mut second = Current::create(&folder, next, Some(first.previous())).expect("room");
    second.add_entry(What::Retired { number: 1 }).expect("room");
    let line = line(2, "2026-11-22T14:32:15.000000000Z");
    second.append(line.as_bytes(), &[Hash::of(line.as_bytes())], TIMES).expect("room");
    second.seal(&folder, Why::Closed).expect("room");
    // The retired segment's events are left, as after a crash: that is no fault.
    fs::remove_file(&first.segment.seals).expect("there");
    assert_eq!(faults(&verify(&folder).expect("a report")), [""; 0]);
    let seals = fs::read_to_string(&second.segment.seals).expect("there");
    let kept = seals.trim_end().rsplit_once('\n').expect("several").0;
    fs::write(&second.segment.seals, format!("{kept}\n")).expect("room");
    let report = verify(&folder).expect("a report");
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    assert!(report.faults[0].what.contains("was cut off"), "{:?}", report.faults);
}

#[test]
fn a_segment_compressed_during_verify_is_found_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, segments) = three(dir.path());
    compress(&segments[0]);
    let found = super::verify::files::open(&folder, &segments[0]).expect("still there");
    assert!(found.segment.compressed);
    let [events, seals] = [segments[1].events.clone().expect("events"), segments[1].seals.clone()];
    fs::remove_file(events).expect("there");
    let found = super::verify::files::open(&folder, &segments[1]).expect("its seals are left");
    assert!(found.pieces.is_none());
    fs::remove_file(seals).expect("there");
    assert!(super::verify::files::open(&folder, &segments[1]).is_none());
}

#[test]
fn times_near_the_maximum_do_not_panic() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::at(dir.path());
    let late = "9999-12-30T22:00:00.900000000Z";
    fs::write(dir.path().join("observer-000001-99991230T220000Z.jsonl"), line(1, late))
        .expect("room");
    fs::write(dir.path().join("observer-000002-99991230T220000Z.jsonl"), line(2, late))
        .expect("room");
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let filter = Filter {
        since: time("2026-11-22T14:32:15Z"),
        until: time("9999-12-30T22:00:00Z"),
        ..Filter::default()
    };
    let met = Query::new(&filter)
        .run(&folder, |_| (), |_, _| Ok(Flow::Continue), true)
        .expect("readable");
    assert_eq!((met.unreadable, met.lost), (0, 0));
    let everything = Filter::default();
    let met = Query::new(&everything).run(&folder, |_| (), |_, _| Ok(Flow::Continue), true);
    assert_eq!(met.expect("readable").lost, u64::MAX);
}

#[test]
fn an_incident_is_found_by_its_processes_and_units() {
    let dir = tempfile::tempdir().expect("a folder");
    let incident = "{\"schema\":1,\"seq\":9,\"time\":\"2026-11-22T14:32:15Z\",\"boot_id\":\"b\",\"host\":\"h\",\
         \"kind\":\"incident\",\"subject\":\"shop.service\",\"summary\":\"\",\"open\":false,\
         \"from\":\"2026-11-22T14:32:15Z\",\"to\":\"2026-11-22T14:32:15Z\",\"events\":[],\"sentences\":[],\
         \"units\":[\"mail.service\",\"shop.service\"],\"pids\":[7,2211],\"sockets\":[]}\n";
    fs::write(dir.path().join("observer-000001-20261122T140000Z.jsonl"), incident).expect("room");
    let found = |filter: Filter| {
        let mut found = 0;
        let each = |_: &[u8], _| {
            found += 1;
            Ok(Flow::Continue)
        };
        let met = Query::new(&filter).run(&Folder::at(dir.path()), |_| (), each, true);
        assert_eq!(met.expect("readable").unreadable, 0);
        found
    };
    let filters = [
        (Filter { pid: vec![2211], ..Filter::default() }, 1),
        (Filter { pid: vec![221], ..Filter::default() }, 0),
        (Filter { unit: vec!["shop".into()], ..Filter::default() }, 1),
        (Filter { unit: vec!["shop.service".into()], pid: vec![7], ..Filter::default() }, 1),
        (Filter { unit: vec!["sh".into()], ..Filter::default() }, 0),
    ];
    for (filter, number) in filters {
        let words = format!("{filter:?}");
        assert_eq!(found(filter), number, "{words}");
    }
}

#[test]
fn an_impossible_seq_is_not_continued() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, segments) = three(dir.path());
    let newest = segments[2].events.clone().expect("events");
    fs::write(newest, line(u64::MAX, "2026-11-22T14:32:15.000000000Z")).expect("room");
    let found = open::open(&folder).expect("readable");
    assert_eq!(found.last.map(|last| last.seq), Some(2));
}

#[test]
fn a_segment_with_too_many_unsealed_bytes_is_not_resumed() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::at(dir.path());
    let new = folder.next(None, Timestamp::UNIX_EPOCH);
    let events = new.events.clone().expect("events");
    drop(Current::create(&folder, new, None).expect("room"));
    let file = fs::OpenOptions::new().write(true).open(events).expect("there");
    file.set_len((1 << 30) + 1).expect("sparse");
    let found = open::open(&folder).expect("readable");
    assert!(
        found.current.is_none() && found.not_resumed.is_some_and(|why| why.contains("unsealed"))
    );
}

#[test]
fn lists_thousands_of_segments() {
    let dir = tempfile::tempdir().expect("a folder");
    for n in 0..5000 {
        fs::write(dir.path().join(format!("observer-{n:06}-x.jsonl")), "").expect("room");
        fs::write(dir.path().join(format!("observer-{n:06}-x.seals")), "").expect("room");
    }
    let segments = Folder::at(dir.path()).segments().expect("readable");
    assert_eq!(segments.len(), 5000);
    assert!(segments.is_sorted_by_key(|segment| segment.number));
}

/// The others are shown, and the broken one is named.
#[test]
fn an_unreadable_segment_hides_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, segments) = three(dir.path());
    fs::write(compress(&segments[1]), b"no zstd").expect("room");
    let mut seen = Vec::new();
    let each = |_: &[u8], event: Option<crate::model::Event>| {
        seen.extend(event.and_then(|event| event.seq));
        Ok(Flow::Continue)
    };
    let filter = Filter::default();
    let met = Query::new(&filter).run(&folder, |_| (), each, true).expect("readable");
    assert_eq!(seen, [1, 3]);
    assert_eq!(met.broken.len(), 1, "{met:?}");
    assert!(met.broken[0].contains(&segments[1].stem), "{met:?}");
}

#[test]
fn a_removed_event_with_a_seal_of_its_own_is_reported() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::at(dir.path());
    let mut current =
        Current::create(&folder, folder.next(None, Timestamp::UNIX_EPOCH), None).expect("room");
    let lines = [1, 2, 3].map(|seq| line(seq, "2026-11-22T14:32:15.000000000Z"));
    for line in &lines {
        current.append(line.as_bytes(), &[Hash::of(line.as_bytes())], TIMES).expect("room");
        current.seal(&folder, Why::Due).expect("room");
    }
    fs::write(current.segment.events.as_ref().expect("events"), lines[1..].concat()).expect("room");
    let report = verify(&folder).expect("a report");
    assert_eq!(faults(&report), ["1 event before it was removed"]);
    assert_eq!((report.faults[0].record, report.faults[0].seq), (Some(1), Some(2)));
}

/// A service that writes the original does not write its copy.
#[test]
fn a_folder_is_written_while_it_is_locked() {
    let (dir, other) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
    let (folder, copy) = (Folder::at(dir.path()), Folder::at(other.path()));
    assert!(!folder.is_written());
    let lock = folder.lock().expect("free");
    assert!(folder.is_written() && !copy.is_written());
    assert!(folder.lock().is_err());
    drop(lock);
    assert!(!folder.is_written());
}

/// Only its end is read: a sparse file may be larger than any disk.
#[test]
fn a_huge_hole_at_the_end_costs_no_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, segments) = three(dir.path());
    let newest = segments[2].events.clone().expect("events");
    let file = fs::OpenOptions::new().write(true).open(newest).expect("there");
    file.set_len(1 << 40).expect("sparse");
    let began = std::time::Instant::now();
    let found = open::open(&folder).expect("readable");
    assert_eq!(found.last.map(|last| last.seq), Some(3), "the last one with a seal");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn the_last_event_is_found_after_many_and_if_it_is_long() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, segments) = three(dir.path());
    let newest = segments[2].events.clone().expect("events");
    let time = "2026-11-22T14:32:15.000000000Z";
    let many: String = (10..20_000).map(|seq| line(seq, time)).collect();
    let long = line(20_000, time).replace("\"r\"", &format!("{:?}", "r".repeat(3 << 20)));
    for (text, last) in [(many.clone(), 19_999), (many + &long, 20_000)] {
        fs::write(&newest, text).expect("room");
        let found = open::open(&folder).expect("readable");
        assert_eq!(found.last.map(|last| last.seq), Some(last));
    }
}

/// A number is never used twice: not where the newest segment can't be read, nor where its last line is of another time.
#[test]
fn an_unreadable_newest_segment_leaves_its_numbers_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, segments) = three(dir.path());
    let packed = compress(&segments[2]);
    fs::write(packed, "no zstd").expect("room");
    let found = open::open(&folder).expect("readable");
    assert!(found.last.is_some_and(|last| last.seq >= 3), "{:?}", found.last);
}

#[test]
fn a_line_of_an_older_version_that_is_longer_than_all_pieces_counts() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::at(dir.path());
    let time = "2026-11-22T14:32:15.000000000Z";
    let long = line(7, time).replace("\"r\"", &format!("{:?}", "r".repeat(40 << 20)));
    let mut current =
        Current::create(&folder, folder.next(None, Timestamp::UNIX_EPOCH), None).expect("room");
    for line in [line(6, time), long] {
        current.append(line.as_bytes(), &[Hash::of(line.as_bytes())], TIMES).expect("room");
    }
    current.seal(&folder, Why::Due).expect("room");
    let found = open::open(&folder).expect("readable");
    assert_eq!(found.last.map(|last| last.seq), Some(7));
    // What was sealed in pieces holds, and the rest of the store is shown.
    assert_eq!(faults(&verify(&folder).expect("a report")), [""; 0]);
    let filter = Filter::default();
    let mut shown = 0;
    let each = |_: &[u8], _| {
        shown += 1;
        Ok(Flow::Continue)
    };
    let report = Query::new(&filter).run(&folder, |_| (), each, true).expect("readable");
    assert_eq!((shown, report.broken.len()), (1, 0));
    assert!(report.unreadable > 0);
}

/// The clock was ahead while a segment was written, and was set back.
#[test]
fn times_are_found_whatever_the_clock_did() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::at(dir.path());
    let at = |time: &str| time.parse::<Timestamp>().expect("a time");
    let (ahead, real) = ("2036-01-01T00:00:00Z", "2026-11-22T14:32:15Z");
    let mut before: Option<Current> = None;
    for (seq, begun, time) in
        [(1, ahead, ahead), (2, ahead, real), (3, real, ahead), (4, real, real)]
    {
        let previous = before.as_ref().map(|current| current.segment.clone());
        let segment = folder.next(previous.as_ref(), at(begun));
        let mut current = Current::create(&folder, segment, before.as_ref().map(Current::previous))
            .expect("room");
        let line = line(seq, time);
        let times = (at(time), at(time));
        current.append(line.as_bytes(), &[Hash::of(line.as_bytes())], times).expect("room");
        current.seal(&folder, Why::Closed).expect("room");
        before = Some(current);
    }
    for (since, until, expected) in
        [(real, "2026-11-22T14:33:00Z", vec![2, 4]), ("2030-01-01T00:00:00Z", ahead, vec![1, 3])]
    {
        let filter = Filter { since: Some(at(since)), until: Some(at(until)), ..Filter::default() };
        let mut found = Vec::new();
        let each = |_: &[u8], event: Option<crate::model::Event>| {
            found.extend(event.and_then(|event| event.seq));
            Ok(Flow::Continue)
        };
        Query::new(&filter).run(&folder, |_| (), each, true).expect("readable");
        assert_eq!(found, expected);
    }
}
