//! A full or read-only disk: the live tail goes on, recording continues when there is room, and the gap is counted to
//! the last event.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use observer_tests::{Mounted, Observer, Place, Service, Stored, Workload, deaths, patience, run};
use serde_json::Value;

crate::tests![
    full_twice,
    full_during_rotation,
    full_at_the_start,
    full_until_the_stop,
    still_full_at_the_stop,
    still_full_at_a_kill,
    torn_and_full_at_the_start,
    read_only_at_the_start,
    read_only_while_running needs LoopDisk,
];

const OPTIONS: &str = "size=64m,mode=755";

/// A small tmpfs of this test.
struct Disk {
    // Unmounted before the folder is removed.
    mounted: Mounted,
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Mounted::tmpfs(folder.path(), OPTIONS);
        Self { mounted, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Fills it up.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("room");
        let piece = [0; 4096];
        loop {
            match file.write(&piece) {
                Ok(_) => {}
                Err(why) if why.kind() == ErrorKind::StorageFull => return,
                Err(why) => panic!("{why}"),
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).expect("it was full");
    }

    fn read_only(&self, yes: bool) {
        self.mounted.again(if yes { libc::MS_RDONLY } else { 0 }, OPTIONS);
    }
}

fn place(disk: &Disk, segment_bytes: u64) -> Place {
    let files = format!("[files]\nsegment_bytes = {segment_bytes}\nseal_seconds = 1\n");
    Place::new(&files).with_store_in(&disk.path().join("records"))
}

/// Lets processes exit until the live tail reports the gap.
fn until_the_gap_is_reported(tail: &mut Observer) {
    let deadline = Instant::now() + patience::limit();
    while tail.lost_by_the_service() == 0 {
        assert!(Instant::now() < deadline, "no loss is reported");
        deaths(tail, 1);
    }
}

/// As many numbers are missing as are reported lost. On a slow machine a `loss` about skipped exits may itself be
/// lost: its count may then be larger than the gap.
#[track_caller]
fn assert_missing_is_reported(stored: &Stored) {
    let (missing, lost) = (stored.missing(), stored.events.lost());
    let reported = missing == lost || patience::slow_machine() && missing < lost;
    assert!(reported, "{missing} are missing, {lost} reported lost");
}

/// On a slow machine exits come so slowly that the gap may be over already, in the rest of the file's last page.
#[track_caller]
fn assert_not_recording(place: &Place, tail: &mut Observer, known: u64) {
    let status = place.text(&["status"]);
    let over = patience::slow_machine() && tail.lost_by_the_service() > known;
    assert!(over || status.contains("NOT RECORDING"), "{status}");
}

/// Each number is in the store, or counted as lost.
fn assert_nothing_missing(place: &Place, storms: &[&Workload], sent: usize) -> Stored {
    place.verified();
    let stored = place.stored();
    let lost = stored.events.lost();
    assert!(lost > 0, "nothing was lost: nothing is proven");
    assert_missing_is_reported(&stored);
    let reported = |storm: &&Workload| stored.events.exits_of_children(storm.pid()).count();
    let reported: usize = storms.iter().map(reported).sum();
    let unreported = usize::try_from(lost + stored.events.skipped()).expect("a count");
    assert!(reported < sent && reported + unreported >= sent, "{reported} reported");
    stored
}

fn through_a_full_disk(segment_bytes: u64) {
    let disk = Disk::new();
    let place = place(&disk, segment_bytes);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let before = deaths(&mut tail, 100);
    let mut all = vec![before];
    for _ in 0..2 {
        disk.fill();
        let known = tail.lost_by_the_service();
        all.push(deaths(&mut tail, 200));
        assert_not_recording(&place, &mut tail, known);
        disk.empty();
        let deadline = Instant::now() + patience::limit();
        while tail.lost_by_the_service() == known {
            assert!(Instant::now() < deadline, "no loss is reported");
            deaths(&mut tail, 1);
        }
    }
    let after = deaths(&mut tail, 100);
    assert!(!place.text(&["status"]).contains("NOT RECORDING"));
    end(&place, service, tail, &all, &after);
}

fn end(place: &Place, service: Service, tail: Observer, all: &[Workload], after: &Workload) {
    service.stop();
    let reported = tail.finish_after_the_service();
    let storms: Vec<_> = all.iter().collect();
    let stored = assert_nothing_missing(place, &storms, 500);
    assert_eq!(
        stored.events.lost(),
        reported.lost_by_the_service(),
        "losses in the store and in the live tail"
    );
    stored.events.assert_none_lost(&[after.pid()], 100);
    // The next run continues.
    place.serve(&[]).stop();
    place.verified();
}

fn full_twice() {
    through_a_full_disk(1 << 30);
}

/// Segments that are closed while the disk is full still get their seal.
fn full_during_rotation() {
    through_a_full_disk(32 << 10);
}

fn full_at_the_start() {
    let disk = Disk::new();
    let place = place(&disk, 1 << 30);
    for kill in [false, true] {
        let service = place.serve(&[]);
        let (_storm, _) = run(["storm", "20", "1"]);
        if kill {
            service.kill();
        } else {
            drop(service.stop());
        }
        disk.fill();
        let service = place.serve(&[]);
        let mut tail = place.tail(&[]);
        deaths(&mut tail, 100);
        disk.empty();
        until_the_gap_is_reported(&mut tail);
        service.stop();
        let lost = tail.finish_after_the_service().lost_by_the_service();
        place.verified();
        let stored = place.stored();
        assert_missing_is_reported(&stored);
        assert!(stored.events.lost() >= lost, "{lost} reported live");
    }
}

/// Room comes back and nothing happens until the stop: the gap is still reported.
fn full_until_the_stop() {
    let disk = Disk::new();
    let place = place(&disk, 1 << 30);
    let mut service = place.serve(&[]);
    service.wait_notified("STATUS=recording");
    let mut tail = place.tail(&[]);
    let before = deaths(&mut tail, 50);
    disk.fill();
    let lost = deaths(&mut tail, 200);
    assert_not_recording(&place, &mut tail, 0);
    service.wait_notified_of("STATUS=NOT RECORDING: ");
    disk.empty();
    service.stop();
    let stored = assert_nothing_missing(&place, &[&before, &lost], 250);
    assert_eq!(
        stored.events.lost(),
        tail.finish_after_the_service().lost_by_the_service(),
        "losses in the store and in the live tail"
    );
}

/// Nothing can be written at the end: the next run still reports the gap and reuses no number.
fn still_full(end: fn(Service)) {
    let disk = Disk::new();
    let place = place(&disk, 1 << 30);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let before = deaths(&mut tail, 50);
    disk.fill();
    let lost = deaths(&mut tail, 200);
    assert_not_recording(&place, &mut tail, 0);
    end(service);
    tail.finish_after_the_service();
    // Still full: the gap stays known.
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let more = deaths(&mut tail, 20);
    end(service);
    tail.finish_after_the_service();
    disk.empty();
    let service = place.serve(&[]);
    let after = deaths(&mut place.tail(&[]), 30);
    service.stop();
    let stored = assert_nothing_missing(&place, &[&before, &lost, &more, &after], 300);
    stored.events.assert_none_lost(&[after.pid()], 30);
    // The gap is reported once.
    place.serve(&[]).stop();
    assert_eq!(place.stored().events.lost(), stored.events.lost());
}

fn still_full_at_the_stop() {
    still_full(|service| drop(service.stop()));
}

fn still_full_at_a_kill() {
    still_full(Service::kill);
}

/// A torn line stays in place until there is room to set it aside; nothing overwrites it.
fn torn_and_full_at_the_start() {
    let disk = Disk::new();
    let place = place(&disk, 1 << 30);
    let service = place.serve(&[]);
    deaths(&mut place.tail(&[]), 20);
    service.kill();
    let name = place.names().into_iter().find(|name| name.ends_with(".jsonl")).expect("a segment");
    let path = place.dir().join(name);
    let torn = "{\"schema\":1,\"seq\":99999,\"ti".repeat(1000);
    let mut file = File::options().append(true).open(&path).expect("it is there");
    file.write_all(torn.as_bytes()).expect("room");
    disk.fill();
    let mut service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let lost = deaths(&mut tail, 30);
    assert!(place.text(&["status"]).contains("NOT RECORDING"));
    service.wait_notified_of("STATUS=NOT RECORDING: ");
    assert!(fs::read(&path).expect("readable").ends_with(torn.as_bytes()), "it is written over");
    disk.empty();
    until_the_gap_is_reported(&mut tail);
    service.wait_notified("STATUS=recording");
    let after = deaths(&mut tail, 30);
    service.stop();
    assert_eq!(fs::read(path.with_extension("torn")).expect("it is kept"), torn.as_bytes());
    place.verified();
    let stored = place.stored();
    assert_missing_is_reported(&stored);
    assert_eq!(stored.events.exits_of_children(lost.pid()).count(), 0);
    stored.events.assert_none_lost(&[after.pid()], 30);
}

/// ext4 remounts read-only after a disk error: open files cannot be written any more. The live side goes on, and the
/// next run continues from what is on the disk.
fn read_only_while_running() {
    let disk = tempfile::tempdir().expect("a folder");
    let (image, at) = (disk.path().join("image"), disk.path().join("mounted"));
    File::create(&image).and_then(|file| file.set_len(256 << 20)).expect("room");
    command("mkfs.ext4", &["-q"], &[&image]);
    fs::create_dir(&at).expect("room");
    command("mount", &["-o", "loop,errors=remount-ro"], &[&image, &at]);
    let mounted = Mounted::at(at.clone());
    let place = Place::new("[files]\nseal_seconds = 1\n").with_store_in(&at.join("records"));
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let before = deaths(&mut tail, 20);
    wait_sealed(&place);
    command("mount", &["-o", "remount,abort"], &[&at]);
    deaths(&mut tail, 20);
    let status = place.text(&["status"]);
    assert!(status.contains("NOT RECORDING") && status.contains("Read-only"), "{status}");
    let said = service.stop();
    assert!(said.iter().any(|line| line.contains("are not in the store")), "{said:?}");
    tail.finish_after_the_service();
    drop(mounted);
    command("mount", &["-o", "loop"], &[&image, &at]);
    let _mounted = Mounted::at(at);
    place.serve(&[]).stop();
    place.verified();
    let stored = place.stored();
    stored.assert_unbroken();
    stored.events.assert_none_lost(&[before.pid()], 20);
    let sessions: Vec<_> = stored.events.of_kind("session").collect();
    assert_eq!(sessions.last().expect("some")["after"]["stopped"], false);
}

/// Waits until all events that a new store has numbered by now are sealed. Others make new ones all the time.
fn wait_sealed(place: &Place) {
    let status: Value = serde_json::from_str(&place.text(&["status", "--json"])).expect("JSON");
    let numbered = status["seq"].as_u64().expect("a number");
    let sealed = || place.verified()["sealed"].as_u64().expect("a count");
    let deadline = Instant::now() + patience::limit();
    while sealed() < numbered {
        assert!(Instant::now() < deadline, "it is never sealed");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn command(program: &str, words: &[&str], paths: &[&Path]) {
    let output = Command::new(program).args(words).args(paths).output();
    let output = output.unwrap_or_else(|why| panic!("{program}: {why}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {stderr}");
}

/// One line with the reason; when it is writable again, the next start continues.
fn read_only_at_the_start() {
    let disk = Disk::new();
    let place = place(&disk, 1 << 30);
    place.serve(&[]).stop();
    disk.read_only(true);
    let output = place.output(&["serve"]);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("Read-only"), "{stderr}");
    place.verified();
    disk.read_only(false);
    place.serve(&[]).stop();
    place.verified();
    place.stored().assert_unbroken();
}
