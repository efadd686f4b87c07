//! Clients of the service: each gets every event or a `loss`; none blocks another.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use observer_tests::{
    Observer, Place, Service, Stored, Workload, deaths, patience, run, wait_for_marker,
};
use serde_json::Value;

crate::tests![
    hanging_client_does_not_block_others,
    zero_exits_only_for_clients_with_all,
    new_clients_do_not_delay_events,
    late_client_gets_the_same_seq,
    late_client_gets_initial_listens,
    concurrent_scans,
    malformed_requests,
    silent_clients_200,
    client_limit,
];

const ABNORMAL: &str = "[files]\nseal_seconds = 1\n";

/// How many events were counted but not stored: exits with code 0.
fn unrecorded(status: &Value) -> i64 {
    let counts = status["events"].as_object().into_iter().flatten();
    let all: i64 = counts.filter_map(|(_, count)| count.as_i64()).sum();
    all - status["seq"].as_i64().expect("a number")
}

/// Speaks the protocol of the socket directly.
fn ask(place: &Place, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(place.socket()).expect("the service listens");
    stream.set_read_timeout(Some(patience::limit())).expect("a span that is not zero");
    stream.write_all(request.as_bytes()).expect("writable");
    stream
}

fn status(place: &Place) -> Value {
    serde_json::from_str(&place.text(&["status", "--json"])).expect("JSON")
}

/// Four clients read, one does not. Its queue is bounded; it misses some, and the count is exact.
fn hanging_client_does_not_block_others() {
    const SENT: usize = 24_000;
    let place = Place::new(&format!("{ABNORMAL}[flood]\nlimit = \"off\"\n"));
    let service = place.serve(&[]);
    let hanging = ask(&place, "{\"request\":\"tail\"}\n");
    let (before, _) = service.memory();
    let mut tails = [(); 4].map(|()| place.tail(&["--kind", "exit"]));
    let mut storms = Vec::new();
    for _ in 0..SENT / 2000 {
        storms.push(deaths(&mut tails[0], 2000));
    }
    for tail in &mut tails {
        wait_for_marker(tail);
    }
    let (after, peak) = service.memory();
    assert!(peak - before < 96 << 20, "from {before} to {peak} bytes, now {after}");
    assert!(status(&place)["clients"]["missed"].as_u64().is_some_and(|missed| missed > 0));
    let missed = |place: &Place| status(place)["clients"]["missed"].as_u64();
    let reader = thread::spawn(move || text_of(hanging));
    // The loss is sent with the first event that fits again.
    let deadline = Instant::now() + patience::limit();
    loop {
        let known = missed(&place);
        deaths(&mut tails[0], 1);
        if missed(&place) == known {
            break;
        }
        assert!(Instant::now() < deadline, "it is still missing events");
    }
    service.stop();
    let stored = Stored::read(&reader.join().expect("it reads to the end"));
    stored.assert_each_gap_is_reported();
    let pids: Vec<u32> = storms.iter().map(Workload::pid).collect();
    let streams = tails.map(|tail| tail.finish_after_the_service().events);
    let count = |count: u64| usize::try_from(count).expect("a count");
    let lost = count(stored.events.lost());
    let reported: usize =
        pids.iter().map(|pid| stored.events.exits_of_children(*pid).count()).sum();
    // The kernel's skipped exits reach nobody, and a client that misses events may miss that loss too.
    let skipped = count(streams[0].skipped());
    assert!(
        lost > 0 && reported < SENT && reported + lost + skipped >= SENT,
        "{reported} reported, {lost} lost"
    );
    for events in streams {
        events.assert_all_reported(&pids, SENT);
    }
    place.verified();
}

/// New clients connect all the time: every exit is reported at once all the same.
fn new_clients_do_not_delay_events() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let (done, deadline) = (AtomicBool::new(false), Instant::now() + 2 * patience::limit());
    thread::scope(|scope| {
        scope.spawn(|| {
            // It must end when the test fails.
            while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
                drop(ask(&place, "{\"request\":\"status\"}\n"));
                thread::sleep(Duration::from_millis(3));
            }
        });
        let began = Instant::now();
        for _ in 0..30 {
            wait_for_marker(&mut tail);
        }
        // If events waited for a timer, it would take longer.
        assert!(began.elapsed() < patience::scaled(5), "{:?}", began.elapsed());
        done.store(true, Ordering::Relaxed);
    });
    tail.stop();
    service.stop();
    place.verified();
}

/// Scans for clients and scans for refusals take turns.
fn concurrent_scans() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let (port, pid) = (holder.value("port"), u64::from(holder.pid()));
    let address = format!("127.0.0.1:{port}");
    let mut tail = place.tail(&[]);
    thread::scope(|scope| {
        let scans: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let line: Value =
                            serde_json::from_str(&place.text(&["ports", &port, "--json"]))
                                .expect("one");
                        assert_eq!(line["holders"][0]["process"]["pid"], pid, "{line:#}");
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            let (refused, _) = run(["bind", "1", "tcp", &address]);
            let event = tail.wait_for("the refusal", |event| {
                event["kind"] == "bind" && event["process"]["pid"] == refused.pid()
            });
            assert_eq!(event["holders"][0]["process"]["pid"], pid, "{event:#}");
        }
        for scan in scans {
            scan.join().expect("every scan named the holder");
        }
    });
    assert_eq!(tail.stop().events.lost(), 0);
    service.stop();
    place.verified();
}

fn text_of(stream: UnixStream) -> String {
    let mut text = String::new();
    BufReader::new(stream).read_to_string(&mut text).expect("UTF-8, until the service ends");
    text
}

/// Clients with `--all` get them, numbered without a gap; the store has neither them nor gaps.
fn zero_exits_only_for_clients_with_all() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let (silent, _) = run(["exit", "0"]);
    let mut plain = place.tail(&[]);
    let mut all = place.tail(&["--all"]);
    let (ordinary, _) = run(["storm", "50", "0"]);
    let abnormal = deaths(&mut plain, 20);
    all.wait_until("all of them", |events| events.has_all(&[abnormal.pid()], 20).then_some(()));
    let reported = all.stop();
    reported.events.assert_all_reported(&[ordinary.pid()], 50);
    assert_eq!(reported.events.exits_of(silent.pid()).count(), 0);
    reported.numbers.assert_each_gap_is_reported();
    // It has left, but the kernel may still report zero exits for a moment.
    let deadline = Instant::now() + patience::limit();
    while status(&place)["clients"]["now"] != 1 {
        assert!(Instant::now() < deadline, "the client that left is still counted");
        deaths(&mut plain, 1);
    }
    let before = unrecorded(&status(&place));
    let (later, _) = run(["storm", "2000", "0"]);
    deaths(&mut plain, 1);
    let counted = unrecorded(&status(&place)) - before;
    assert!(counted < 1000, "{counted} zero exits reported though no client asked for them");
    let reported = plain.stop();
    reported.numbers.assert_each_gap_is_reported();
    service.stop();
    let stored = place.stored();
    stored.assert_unbroken();
    for storm in [&ordinary, &later] {
        assert_eq!(stored.events.exits_of_children(storm.pid()).count(), 0);
        assert_eq!(reported.events.exits_of_children(storm.pid()).count(), 0);
    }
    stored.events.assert_all_reported(&[abnormal.pid()], 20);
}

/// A client without `--all` gets the numbers of the store.
fn late_client_gets_the_same_seq() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut first = place.tail(&[]);
    deaths(&mut first, 30);
    let mut second = place.tail(&[]);
    let storm = deaths(&mut first, 30);
    deaths(&mut second, 1);
    service.stop();
    let stored = place.stored();
    let numbers = |events: &observer_tests::Events| -> Vec<_> {
        events.exits_of_children(storm.pid()).map(|exit| exit["seq"].as_u64()).collect()
    };
    let recorded = numbers(&stored.events);
    assert_eq!(recorded.len(), 30);
    assert_eq!(numbers(&first.finish_after_the_service().events), recorded);
    assert_eq!(numbers(&second.finish_after_the_service().events), recorded);
}

/// Like a standalone tail: a client that joins late gets an initial `listen` for each served port.
fn late_client_gets_initial_listens() {
    let place = Place::new(ABNORMAL);
    let hold = || {
        let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
        let port = holder.number("port");
        (holder, port)
    };
    let mut all = vec![hold()];
    let service = place.serve(&[]);
    let mut first = place.tail(&[]);
    all.push(hold());
    let mut gone = hold();
    let about = |event: &Value, kind: &str, (_, port): &(Workload, u64)| {
        event["kind"] == kind && event["socket"]["port"].as_u64() == Some(*port)
    };
    // Both the first scan and the kernel's own event have been processed.
    first.wait_for("the last one", |event| about(event, "listen", &gone));
    first.wait_for("the first one", |event| about(event, "listen", &all[0]));
    gone.0.signal(libc::SIGKILL);
    gone.0.wait();
    first.wait_for("its end", |event| about(event, "release", &gone));
    let mut second = place.tail(&[]);
    for holder in &all {
        let listen = second.wait_for("who serves", |event| about(event, "listen", holder));
        assert_eq!(listen["initial"], true, "{listen:#}");
        assert_eq!(listen["process"]["pid"], holder.0.pid(), "{listen:#}");
    }
    let late = hold();
    let listen = second.wait_for("the late one", |event| about(event, "listen", &late));
    assert_ne!(listen["initial"], true, "{listen:#}");
    let reported = second.stop();
    reported.numbers.assert_each_gap_is_reported();
    let listens = reported.events.of_kind("listen");
    assert!(!listens.into_iter().any(|event| about(event, "listen", &gone)), "it was released");
    first.stop();
    service.stop();
    place.stored().assert_unbroken();
    place.verified();
}

/// What the service answers before it hangs up.
fn answer(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    // It may hang up with unread bytes of ours, which is an error here, after its answer.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn malformed_requests() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let refused = [
        "\n",
        "hello\n",
        "{}\n",
        "{\"request\":\"shutdown\"}\n",
        "{\"request\":\"tail\",\"all\":7}\n",
        "{\"request\":\"ports\",\"ports\":[70000]}\n",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
        "{\"request\":\"status\"}",
    ];
    for request in refused {
        let stream = ask(&place, request);
        stream.shutdown(Shutdown::Write).expect("connected");
        let text = answer(stream);
        let reported: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(reported["error"].is_string(), "{request:?}: {text:?}");
    }
    let binary: Vec<u8> = (0..=255).collect();
    let mut stream = ask(&place, "");
    stream.write_all(&binary).expect("writable");
    assert!(answer(stream).contains("error"));
    // Longer than any request: the service stops reading.
    let mut stream = ask(&place, "");
    let junk = vec![b'x'; 1 << 20];
    let _ = stream.write_all(&junk);
    let _ = answer(stream);
    // Half a request, then gone.
    drop(ask(&place, "{\"request\":\"ta"));
    // A whole request, gone before the answer.
    drop(ask(&place, "{\"request\":\"status\"}\n"));
    drop(ask(&place, "{\"request\":\"tail\",\"all\":true}\n"));
    drop(ask(&place, "{\"request\":\"ports\"}\n"));
    // A client that goes on talking.
    let mut talks = ask(&place, "{\"request\":\"tail\"}\nand more\n");
    talks.write_all(&binary).expect("writable");
    deaths(&mut tail, 20);
    let mut line = String::new();
    BufReader::new(talks).read_line(&mut line).expect("its session");
    assert!(line.contains("\"session\""), "{line}");
    let reported = tail.stop();
    reported.numbers.assert_each_gap_is_reported();
    service.stop();
    place.verified();
}

fn silent_clients_200() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let silent: Vec<_> = (0..200).map(|_| ask(&place, "")).collect();
    deaths(&mut tail, 50);
    assert!(status(&place)["pid"].is_u64());
    // A client that sends no request is disconnected after a while.
    for stream in silent {
        let text = answer(stream);
        assert!(text.contains("no request came"), "{text:?}");
    }
    deaths(&mut tail, 50);
    end(service, tail);
    place.verified();
}

fn end(service: Service, tail: Observer) {
    let reported = tail.stop();
    reported.numbers.assert_each_gap_is_reported();
    service.stop();
}

/// One line with the reason; after one client leaves, the next is accepted.
fn client_limit() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut all: Vec<_> = Vec::new();
    for _ in 0..64 {
        let mut reader = BufReader::new(ask(&place, "{\"request\":\"tail\"}\n"));
        reader.read_line(&mut String::new()).expect("its session");
        all.push(reader);
    }
    let output = place.output(&["tail", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains("64 clients listen already"), "{stderr}");
    drop(all.pop());
    let deadline = Instant::now() + patience::limit();
    while status(&place)["clients"]["now"] != 63 {
        assert!(Instant::now() < deadline, "the client that left is still counted");
        let (_marker, _) = run(["exit", "1"]);
    }
    end(service, place.tail(&[]));
}
