//! A disk that takes nothing for a while: the live tail goes on, recording goes on by itself, and
//! the gap is told to the last event.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use observer_tests::{Mounted, Observer, Place, Record, Service, Workload, deaths, patience, run};

crate::tests![
    full_and_room_again,
    full_while_segments_are_closed,
    full_at_the_start,
    full_until_the_stop,
    still_full_at_the_stop,
    still_full_at_a_kill,
    torn_and_full_at_the_start,
    read_only_at_the_start,
    read_only_while_it_runs needs LoopDisk,
];

const OPTIONS: &str = "size=64m,mode=755";

/// A small file system in memory, of this test alone.
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

    /// Takes all room that there is.
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
    Place::new(&files).with_records_in(&disk.path().join("records"))
}

/// Something dies now and then, until the live tail tells of the gap.
fn until_the_gap_is_told(tail: &mut Observer) {
    let deadline = Instant::now() + patience::limit();
    while tail.lost_by_the_service() == 0 {
        assert!(Instant::now() < deadline, "no gap is told");
        deaths(tail, 1);
    }
}

/// As many numbers are missing as are told to be lost. On a slow machine, where the kernel skips deaths, that may be told
/// in an event which itself could not be recorded: what it tells is counted then, and can be more than its one number.
#[track_caller]
fn assert_missing_is_told(record: &Record) {
    let (missing, lost) = (record.missing(), record.story.lost());
    let told = missing == lost || patience::slow_machine() && missing < lost;
    assert!(told, "{missing} are missing, and {lost} told to be lost");
}

/// On a slow machine deaths come so slowly that the gap may have been told by now, in what was left of the file's last page.
#[track_caller]
fn assert_not_recording(place: &Place, tail: &mut Observer, known: u64) {
    let status = place.text(&["status"]);
    let over = patience::slow_machine() && tail.lost_by_the_service() > known;
    assert!(over || status.contains("NOT RECORDING"), "{status}");
}

/// Each number is in the record, or one of those that are told to be lost.
fn assert_nothing_unsaid(place: &Place, storms: &[&Workload], sent: usize) -> Record {
    place.verified();
    let record = place.record();
    let lost = record.story.lost();
    assert!(lost > 0, "nothing was lost: nothing is proven");
    assert_missing_is_told(&record);
    let told = |storm: &&Workload| record.story.exits_of_children(storm.pid()).count();
    let told: usize = storms.iter().map(told).sum();
    let untold = usize::try_from(lost + record.story.skipped()).expect("a count");
    assert!(told < sent && told + untold >= sent, "{told} told");
    record
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
            assert!(Instant::now() < deadline, "no gap is told");
            deaths(&mut tail, 1);
        }
    }
    let after = deaths(&mut tail, 100);
    assert!(!place.text(&["status"]).contains("NOT RECORDING"));
    end(&place, service, tail, &all, &after);
}

fn end(place: &Place, service: Service, tail: Observer, all: &[Workload], after: &Workload) {
    service.stop();
    let told = tail.finish_left();
    let storms: Vec<_> = all.iter().collect();
    let record = assert_nothing_unsaid(place, &storms, 500);
    assert_eq!(record.story.lost(), told.lost_by_the_service(), "the record, and the live tail");
    record.story.assert_none_lost(&[after.pid()], 100);
    // The next run goes on.
    place.serve(&[]).stop();
    place.verified();
}

fn full_and_room_again() {
    through_a_full_disk(1 << 30);
}

/// What could not be sealed before its segment was full must not be left without a seal.
fn full_while_segments_are_closed() {
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
        until_the_gap_is_told(&mut tail);
        service.stop();
        let lost = tail.finish_left().lost_by_the_service();
        place.verified();
        let record = place.record();
        assert_missing_is_told(&record);
        assert!(record.story.lost() >= lost, "{lost} told live");
    }
}

/// Room comes back, and nothing happens any more before the stop: the gap is told all the same.
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
    let record = assert_nothing_unsaid(&place, &[&before, &lost], 250);
    assert_eq!(record.story.lost(), tail.finish_left().lost_by_the_service(), "the record, and the live tail");
}

/// Nothing can be written at the end: the next run knows what is missing all the same, and gives no number twice.
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
    tail.finish_left();
    // Full still: what is missing goes on to be known.
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let more = deaths(&mut tail, 20);
    end(service);
    tail.finish_left();
    disk.empty();
    let service = place.serve(&[]);
    let after = deaths(&mut place.tail(&[]), 30);
    service.stop();
    let record = assert_nothing_unsaid(&place, &[&before, &lost, &more, &after], 300);
    record.story.assert_none_lost(&[after.pid()], 30);
    // It is told once.
    place.serve(&[]).stop();
    assert_eq!(place.record().story.lost(), record.story.lost());
}

fn still_full_at_the_stop() {
    still_full(|service| drop(service.stop()));
}

fn still_full_at_a_kill() {
    still_full(Service::kill);
}

/// What was torn stays where it is until there is room to set it aside; nothing is written over it.
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
    until_the_gap_is_told(&mut tail);
    service.wait_notified("STATUS=recording");
    let after = deaths(&mut tail, 30);
    service.stop();
    assert_eq!(fs::read(path.with_extension("torn")).expect("it is kept"), torn.as_bytes());
    place.verified();
    let record = place.record();
    assert_missing_is_told(&record);
    assert_eq!(record.story.exits_of_children(lost.pid()).count(), 0);
    record.story.assert_none_lost(&[after.pid()], 30);
}

/// As ext4 does after an error of its disk: whoever has files open can't write to them any more. The live side goes on,
/// and the next run with what is on the disk.
fn read_only_while_it_runs() {
    let disk = tempfile::tempdir().expect("a folder");
    let (image, at) = (disk.path().join("image"), disk.path().join("mounted"));
    File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("room");
    command("mkfs.ext4", &["-q"], &[&image]);
    fs::create_dir(&at).expect("room");
    command("mount", &["-o", "loop,errors=remount-ro"], &[&image, &at]);
    let mounted = Mounted::at(at.clone());
    let place = Place::new("[files]\nseal_seconds = 1\n").with_records_in(&at.join("records"));
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let before = deaths(&mut tail, 20);
    wait_sealed(&place);
    command("mount", &["-o", "remount,abort"], &[&at]);
    deaths(&mut tail, 20);
    let status = place.text(&["status"]);
    assert!(status.contains("NOT RECORDING") && status.contains("Read-only"), "{status}");
    let said = service.stop();
    assert!(said.iter().any(|line| line.contains("are not in the record")), "{said:?}");
    tail.finish_left();
    drop(mounted);
    command("mount", &["-o", "loop"], &[&image, &at]);
    let _mounted = Mounted::at(at);
    place.serve(&[]).stop();
    place.verified();
    let record = place.record();
    record.assert_unbroken();
    record.story.assert_none_lost(&[before.pid()], 20);
    let sessions: Vec<_> = record.story.of_kind("session").collect();
    assert_eq!(sessions.last().expect("some")["after"]["stopped"], false);
}

fn wait_sealed(place: &Place) {
    let unsealed = || place.verified()["unsealed"] != 0;
    let deadline = Instant::now() + patience::limit();
    while unsealed() {
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

/// One line that says so; with room to write, the next start goes on.
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
    place.record().assert_unbroken();
}
