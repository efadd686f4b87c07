//! Who listens to the service: each gets everything, or is told what it missed; none harms another.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use observer_tests::{Observer, Place, Record, Service, Workload, deaths, patience, run, wait_for_marker};
use serde_json::Value;

crate::tests![
    one_that_hangs_holds_up_nobody,
    ordinary_exits_are_for_who_asks,
    newcomers_make_nobody_wait,
    one_that_comes_late_has_the_same_numbers,
    one_that_comes_late_knows_who_serves,
    many_looks_at_a_time,
    garbage_harms_nobody,
    many_that_say_nothing_harm_nobody,
    too_many_are_told,
];

const ABNORMAL: &str = "[files]\nseal_seconds = 1\n";

/// How many events the record has no number for: the ordinary deaths, whosever.
fn unrecorded(status: &Value) -> i64 {
    let counts = status["events"].as_object().into_iter().flatten();
    let all: i64 = counts.filter_map(|(_, count)| count.as_i64()).sum();
    all - status["seq"].as_i64().expect("a number")
}

/// A client of the bare protocol.
fn ask(place: &Place, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(place.socket()).expect("the service listens");
    stream.set_read_timeout(Some(patience::limit())).expect("a span that is not zero");
    stream.write_all(request.as_bytes()).expect("it is taken");
    stream
}

fn status(place: &Place) -> Value {
    serde_json::from_str(&place.text(&["status", "--json"])).expect("JSON")
}

/// Four that read and one that does not. Its queue is bounded, so it misses some, exactly counted.
fn one_that_hangs_holds_up_nobody() {
    const SENT: usize = 24_000;
    let place = Place::new(ABNORMAL);
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
    // The gap is told with the first event that it takes again.
    let deadline = Instant::now() + patience::limit();
    loop {
        let known = missed(&place);
        deaths(&mut tails[0], 1);
        if missed(&place) == known {
            break;
        }
        assert!(Instant::now() < deadline, "it never catches up");
    }
    service.stop();
    let record = Record::read(&reader.join().expect("it reads to the end"));
    record.assert_each_gap_is_told();
    let pids: Vec<u32> = storms.iter().map(Workload::pid).collect();
    let stories = tails.map(|tail| tail.finish_left().story);
    let count = |count: u64| usize::try_from(count).expect("a count");
    let lost = count(record.story.lost());
    let told: usize = pids.iter().map(|pid| record.story.exits_of_children(*pid).count()).sum();
    // What the kernel skipped nobody was told, and who missed some may have missed to be told that.
    let skipped = count(stories[0].skipped());
    assert!(lost > 0 && told < SENT && told + lost + skipped >= SENT, "{told} told, {lost} lost");
    for story in stories {
        story.assert_all_told(&pids, SENT);
    }
    place.verified();
}

/// Somebody comes in whenever the service has just been woken for a death: it is told all the same, at once.
fn newcomers_make_nobody_wait() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let (done, deadline) = (AtomicBool::new(false), Instant::now() + 2 * patience::limit());
    thread::scope(|scope| {
        scope.spawn(|| {
            // A test that fails must not wait for this for ever.
            while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
                drop(ask(&place, "{\"request\":\"status\"}\n"));
                thread::sleep(Duration::from_millis(3));
            }
        });
        let began = Instant::now();
        for _ in 0..30 {
            wait_for_marker(&mut tail);
        }
        // Sooner or later a timer would wake it.
        assert!(began.elapsed() < patience::scaled(5), "{:?}", began.elapsed());
        done.store(true, Ordering::Relaxed);
    });
    tail.stop();
    service.stop();
    place.verified();
}

/// One look over all descriptors at a time: those of clients and those for who is refused must not meet.
fn many_looks_at_a_time() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let (port, pid) = (holder.value("port"), u64::from(holder.pid()));
    let address = format!("127.0.0.1:{port}");
    let mut tail = place.tail(&[]);
    thread::scope(|scope| {
        let looks: Vec<_> = (0..6)
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
        for look in looks {
            look.join().expect("every look named the holder");
        }
    });
    assert_eq!(tail.stop().story.lost(), 0);
    service.stop();
    place.verified();
}

fn text_of(stream: UnixStream) -> String {
    let mut text = String::new();
    BufReader::new(stream).read_to_string(&mut text).expect("UTF-8, until the service ends");
    text
}

/// For one who asks they appear, numbered without a gap; the record has none, nor a gap for them.
fn ordinary_exits_are_for_who_asks() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let (silent, _) = run(["exit", "0"]);
    let mut plain = place.tail(&[]);
    let mut all = place.tail(&["--all"]);
    let (ordinary, _) = run(["storm", "50", "0"]);
    let abnormal = deaths(&mut plain, 20);
    all.wait_until("all of them", |story| story.has_all(&[abnormal.pid()], 20).then_some(()));
    let told = all.stop();
    told.story.assert_all_told(&[ordinary.pid()], 50);
    assert_eq!(told.story.exits_of(silent.pid()).count(), 0);
    told.numbers.assert_each_gap_is_told();
    // It left: whether the kernel still reports any is not for the record to show.
    let deadline = Instant::now() + patience::limit();
    while status(&place)["clients"]["now"] != 1 {
        assert!(Instant::now() < deadline, "it is never let go");
        deaths(&mut plain, 1);
    }
    let before = unrecorded(&status(&place));
    let (later, _) = run(["storm", "2000", "0"]);
    deaths(&mut plain, 1);
    let counted = unrecorded(&status(&place)) - before;
    assert!(counted < 1000, "{counted} events since nobody wants ordinary deaths");
    let told = plain.stop();
    told.numbers.assert_each_gap_is_told();
    service.stop();
    let record = place.record();
    record.assert_unbroken();
    for storm in [&ordinary, &later] {
        assert_eq!(record.story.exits_of_children(storm.pid()).count(), 0);
        assert_eq!(told.story.exits_of_children(storm.pid()).count(), 0);
    }
    record.story.assert_all_told(&[abnormal.pid()], 20);
}

/// The stream of who wants no ordinary deaths has the record's own numbers.
fn one_that_comes_late_has_the_same_numbers() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut first = place.tail(&[]);
    deaths(&mut first, 30);
    let mut second = place.tail(&[]);
    let storm = deaths(&mut first, 30);
    deaths(&mut second, 1);
    service.stop();
    let record = place.record();
    let numbers = |story: &observer_tests::Story| -> Vec<_> {
        story.exits_of_children(storm.pid()).map(|exit| exit["seq"].as_u64()).collect()
    };
    let recorded = numbers(&record.story);
    assert_eq!(recorded.len(), 30);
    assert_eq!(numbers(&first.finish_left().story), recorded);
    assert_eq!(numbers(&second.finish_left().story), recorded);
}

/// As who watches alone does: what was served when they came, whether that began before the service or after.
fn one_that_comes_late_knows_who_serves() {
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
    // The look at the start and the kernel's own word have both come.
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
    let told = second.stop();
    told.numbers.assert_each_gap_is_told();
    let listens = told.story.of_kind("listen");
    assert!(!listens.into_iter().any(|event| about(event, "listen", &gone)), "it is gone");
    first.stop();
    service.stop();
    place.record().assert_unbroken();
    place.verified();
}

/// What the service answers before it hangs up.
fn answer(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    // It may hang up with bytes of ours unread, which is an error for us, after its answer.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn garbage_harms_nobody() {
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
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(told["error"].is_string(), "{request:?}: {text:?}");
    }
    let binary: Vec<u8> = (0..=255).collect();
    let mut stream = ask(&place, "");
    stream.write_all(&binary).expect("it is taken");
    assert!(answer(stream).contains("error"));
    // Longer than any request: it does not read on, nor wait for the end.
    let mut stream = ask(&place, "");
    let junk = vec![b'x'; 1 << 20];
    let _ = stream.write_all(&junk);
    let _ = answer(stream);
    // Half a request, and gone.
    drop(ask(&place, "{\"request\":\"ta"));
    // A whole one, and gone before the answer.
    drop(ask(&place, "{\"request\":\"status\"}\n"));
    drop(ask(&place, "{\"request\":\"tail\",\"all\":true}\n"));
    drop(ask(&place, "{\"request\":\"ports\"}\n"));
    // One that listens and talks on.
    let mut talks = ask(&place, "{\"request\":\"tail\"}\nand more\n");
    talks.write_all(&binary).expect("it is taken");
    deaths(&mut tail, 20);
    let mut line = String::new();
    BufReader::new(talks).read_line(&mut line).expect("its session");
    assert!(line.contains("\"session\""), "{line}");
    let told = tail.stop();
    told.numbers.assert_each_gap_is_told();
    service.stop();
    place.verified();
}

fn many_that_say_nothing_harm_nobody() {
    let place = Place::new(ABNORMAL);
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let silent: Vec<_> = (0..200).map(|_| ask(&place, "")).collect();
    deaths(&mut tail, 50);
    assert!(status(&place)["pid"].is_u64());
    // Each is hung up on when it has said nothing for long enough.
    for stream in silent {
        let text = answer(stream);
        assert!(text.contains("no request came"), "{text:?}");
    }
    deaths(&mut tail, 50);
    end(service, tail);
    place.verified();
}

fn end(service: Service, tail: Observer) {
    let told = tail.stop();
    told.numbers.assert_each_gap_is_told();
    service.stop();
}

/// One line that says so; and when one leaves, the next is welcome.
fn too_many_are_told() {
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
        assert!(Instant::now() < deadline, "it is never let go");
        let (_marker, _) = run(["exit", "1"]);
    }
    end(service, place.tail(&[]));
}
