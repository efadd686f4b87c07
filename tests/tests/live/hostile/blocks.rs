//! What a user without rights, or one who may read the record, can try to block.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use observer_tests::{Place, Workload, deaths, patience};

use crate::metrics::scrape;

/// A member of the group locks everything that can be opened.
pub(super) fn a_reader_locks_the_record() {
    let place = Place::new("");
    place.serve(&[]).stop();
    let adm = fs::read_to_string("/etc/group").expect("there are groups");
    let adm = adm.lines().find(|line| line.starts_with("adm:")).expect("a group that reads logs");
    let group = adm.split(':').nth(2).expect("its number");
    let dir = place.dir().to_str().expect("UTF-8");
    let mut reader = Workload::start_ready(["lock-all", dir, group]);
    assert!(reader.value("locked").parse::<u32>().expect("a number") >= 3);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    deaths(&mut tail, 3);
    tail.stop();
    service.stop();
    place.verified();
}

/// Connections that say nothing keep nobody waiting.
pub(super) fn silent_scrapers() {
    let place = Place::new("");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let service = place.serve(&["--metrics", &free.to_string()]);
    let silent: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(free).expect("it listens")).collect();
    assert!(scrape(free).contains_key("observer_last_seq"));
    drop(silent);
    service.stop();
}

/// Clients that ask and never read, together.
pub(super) fn clients_that_do_not_read() {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    let place = Place::new("[files]\nseal_seconds = 1\n");
    let service = place.serve(&[]);
    let mut silent = Vec::new();
    for _ in 0..40 {
        let mut stream = UnixStream::connect(place.socket()).expect("it listens");
        stream.write_all(b"{\"request\":\"tail\",\"all\":true}\n").expect("writable");
        silent.push(stream);
    }
    let mut tail = place.tail(&[]);
    for _ in 0..10 {
        deaths(&mut tail, 2000);
    }
    tail.stop();
    let (_, peak) = service.memory();
    assert!(peak <= 64 << 20, "{} MiB", peak >> 20);
    drop(silent);
    service.stop();
    place.verified();
}

/// The folder is removed under the service: it says so, makes another one, and goes on with the next number.
pub(super) fn the_folder_is_removed() {
    let place = Place::new("[files]\nseal_seconds = 1\n");
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    deaths(&mut tail, 20);
    let last = place.stored().all.last().map(|(seq, _)| *seq).expect("events");
    fs::remove_dir_all(place.dir()).expect("it is ours");
    let deadline = Instant::now() + patience::limit();
    let writes = || place.dir().exists() && place.names().iter().any(|n| n.ends_with(".jsonl"));
    while !writes() {
        assert!(Instant::now() < deadline, "it goes on into removed files");
        deaths(&mut tail, 1);
        thread::sleep(Duration::from_millis(100));
    }
    deaths(&mut tail, 20);
    tail.stop();
    service.stop();
    let stored = place.stored();
    let first = stored.all.first().map(|(seq, _)| *seq).expect("events");
    assert!(first > last, "{first} after {last}");
    assert!(stored.all.iter().filter(|(_, kind)| kind == "exit").count() >= 20);
    assert!(stored.all.iter().any(|(_, kind)| kind == "loss"), "the gap is not told");
    // Another run goes on after it.
    place.serve(&[]).stop();
}
