//! Metrics: only when configured, correct, and unable to block the service.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use observer_tests::{Place, Service, Workload, deaths, patience};

crate::tests![
    counters_grow,
    no_port_is_opened_by_default,
    port_in_use_names_its_holder,
    other_requests,
    malformed_and_silent_scrapers_do_not_block,
    status_prints_the_same_metrics,
];

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

fn serve(place: &Place, address: SocketAddr) -> Service {
    place.serve(&["--metrics", &address.to_string()])
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(patience::limit())).expect("a span that is not zero");
    stream
}

/// The answer, until it hangs up.
fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).expect("writable");
    let mut bytes = Vec::new();
    // It may hang up with unread bytes of ours, which is an error here, after its answer.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).expect("UTF-8")
}

/// The values, by name and labels.
fn values(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(value).collect()
}

pub(crate) fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let answer = answer(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    values(text)
}

fn counters_grow() {
    let (place, address) = (Place::new(""), free());
    place.set(&format!("metrics = \"{address}\"\n"));
    let service = place.serve(&[]);
    let mut tail = place.tail(&[]);
    let before = scrape(address);
    assert!(before["observer_recording"] >= 1.0);
    assert!(before["observer_clients"] >= 1.0, "{before:?}");
    assert!(before["observer_store_free_bytes"] > 0.0);
    assert!(before["observer_process_resident_memory_bytes"] > 1e6);
    let build = format!("observer_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert!(before.contains_key(&build), "{before:?}");
    deaths(&mut tail, 20);
    let exits = "observer_events_total{kind=\"exit\"}";
    let by_cause = "observer_exits_total{cause=\"exit_code\"}";
    let deadline = Instant::now() + patience::limit();
    let after = loop {
        let after = scrape(address);
        if after[exits] >= before[exits] + 20.0 {
            break after;
        }
        assert!(Instant::now() < deadline, "{after:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let known = before.get(by_cause).copied().unwrap_or_default();
    assert!(after[by_cause] >= known + 20.0, "{after:?}");
    assert!(after["observer_last_seq"] >= before["observer_last_seq"] + 20.0);
    assert!(after["observer_store_bytes"] > before["observer_store_bytes"]);
    tail.stop();
    service.stop();
    TcpStream::connect(address).expect_err("it still listens");
}

/// By default the service opens no port.
fn no_port_is_opened_by_default() {
    let place = Place::new("");
    let service = place.serve(&[]);
    let fds = fs::read_dir(format!("/proc/{}/fd", service.pid())).expect("it lives");
    let links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let inode = |link: std::path::PathBuf| {
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse::<u64>().ok()
    };
    let own: Vec<u64> = links.filter_map(inode).collect();
    assert!(!own.is_empty(), "it has no socket at all");
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", service.pid()));
        for row in table.unwrap_or_default().lines().skip(1) {
            let inode = row.split_whitespace().nth(9).and_then(|inode| inode.parse().ok());
            assert!(!inode.is_some_and(|inode| own.contains(&inode)), "{row}");
        }
    }
    service.stop();
}

/// One line with the setting and the holder; all else goes on, and the port is taken when it is free.
fn port_in_use_names_its_holder() {
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.value("port"));
    let place = Place::new(&format!("metrics = \"{address}\"\n"));
    let service = place.serve(&[]);
    let said = service.wait_said("metrics");
    let who = format!("held by workload (pid {})", holder.pid());
    for word in ["`metrics`", &address, &who] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let status = place.text(&["status"]);
    assert!(status.contains("NOT OFFERED") && status.contains(&who), "{status}");
    let mut tail = place.tail(&[]);
    deaths(&mut tail, 3);
    tail.stop();
    holder.signal(libc::SIGKILL);
    holder.wait();
    service.wait_said("offered on");
    assert!(scrape(address.parse().expect("an address")).contains_key("observer_last_seq"));
    assert!(!place.text(&["status"]).contains("NOT OFFERED"));
    service.stop();
    place.verified();
}

fn other_requests() {
    let (place, address) = (Place::new(""), free());
    let service = serve(&place, address);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /metrics/../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET /metrics?x=y HTTP/1.0\r\n\r\n", "200"),
    ] {
        let answer = answer(address, request.as_bytes());
        let head = answer.lines().next().unwrap_or_default();
        assert!(head.contains(&format!(" {status} ")), "{request:?}: {answer:?}");
        if request.starts_with("HEAD") {
            assert!(answer.ends_with("\r\n\r\n"), "{answer:?}");
        }
    }
    service.stop();
}

fn malformed_and_silent_scrapers_do_not_block() {
    let (place, address) = (Place::new("[files]\nseal_seconds = 1\n"), free());
    let service = serve(&place, address);
    let mut tail = place.tail(&[]);
    let (before, _) = service.memory();
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let long = [b"GET /".as_slice(), &vec![b'x'; 1 << 20]].concat();
    for garbage in [&binary[..], b"\r\n\r\n", b"{\"request\":\"status\"}\n\n", &long] {
        let mut stream = connect(address);
        let _ = stream.write_all(garbage);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        assert!(!String::from_utf8_lossy(&bytes).contains("observer_"), "{garbage:?}");
    }
    // More connections than it serves at a time: silent ones, half requests, unread answers.
    let began = Instant::now();
    let requests = [&b""[..], b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"];
    let hanging: Vec<TcpStream> = (0..60)
        .map(|n| {
            let mut stream = connect(address);
            stream.write_all(requests[n % requests.len()]).expect("writable");
            stream
        })
        .collect();
    let live = Instant::now();
    deaths(&mut tail, 50);
    assert!(live.elapsed() < patience::scaled(5), "the live side waits for scrapers");
    // The next one is served all the same.
    assert!(scrape(address)["observer_recording"] >= 1.0);
    assert!(began.elapsed() < patience::scaled(40), "{:?}", began.elapsed());
    drop(hanging);
    let (after, _) = service.memory();
    assert!(after < before + (16 << 20), "from {before} to {after} bytes");
    tail.stop();
    service.stop();
    place.verified();
}

/// For node_exporter's textfile collector, without a port.
fn status_prints_the_same_metrics() {
    let (place, address) = (Place::new(""), free());
    let service = serve(&place, address);
    let names = |values: BTreeMap<String, f64>| values.into_keys().collect::<Vec<_>>();
    let text = place.text(&["status", "--format", "prometheus"]);
    let (first, second) = (names(values(&text)), names(scrape(address)));
    let gone: Vec<_> = first.iter().filter(|name| !second.contains(name)).collect();
    assert!(gone.is_empty(), "{gone:?}");
    // A series begins with the first event that it counts, and others of the machine make events all the time.
    let new: Vec<_> = second.iter().filter(|name| !first.contains(name)).collect();
    assert!(new.iter().all(|name| name.contains("_total{")), "{new:?}");
    assert!(text.contains("# TYPE observer_events_total counter\n"), "{text}");
    service.stop();
}
