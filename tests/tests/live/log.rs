//! `observer log` and `observer why` over a finished store.

use std::time::Instant;

use jiff::Timestamp;
use observer_tests::{Place, Stored, Workload, patience, run};
use serde_json::Value;

crate::tests![
    filters_across_segments,
    time_ranges_across_segments,
    each_format,
    nothing_matches,
    no_store,
    why_a_port_was_refused,
];

/// What is known of the stored events: the first are in compressed segments, the last in the plain one.
struct Scenario {
    place: Place,
    port: String,
    holder: u32,
    refused: u32,
    named: u32,
    between: Timestamp,
    late: u32,
}

impl Scenario {
    fn new() -> Self {
        let place = Place::new("[files]\nsegment_bytes = 65536\n");
        let service = place.serve(&[]);
        let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
        let port = holder.value("port");
        let (refused, ended) = run(["bind", "1", "tcp", &format!("127.0.0.1:{port}")]);
        assert_eq!(ended.code(), Some(0), "it was not refused");
        let (named, _) = run(["named", "some-name", "exit", "3"]);
        holder.signal(libc::SIGKILL);
        holder.wait();
        let deadline = Instant::now() + patience::limit();
        while place.compressed() < 2 {
            assert!(Instant::now() < deadline, "nothing is compressed");
            let (_storm, _) = run(["storm", "50", "1"]);
        }
        place.wait_compressed(2);
        let between = Timestamp::now();
        let (late, _) = run(["named", "some-name", "exit", "4"]);
        service.stop();
        let (holder, refused) = (holder.pid(), refused.pid());
        Self { port, holder, refused, named: named.pid(), between, late: late.pid(), place }
    }

    /// The events that pass a filter; all must be of `kind`, if one is given.
    fn log(&self, filter: &[&str], kind: Option<&str>) -> Stored {
        let stored = Stored::read(&self.place.text(&[&["log", "--json"], filter].concat()));
        if let Some(kind) = kind {
            let other = stored.all.iter().find(|(_, other)| other != kind);
            assert!(other.is_none(), "{filter:?}: {other:?}");
        }
        stored
    }
}

fn filters_across_segments() {
    let scenario = Scenario::new();
    for (pid, code) in [(scenario.named, 3), (scenario.late, 4)] {
        let stored = scenario.log(&["--pid", &pid.to_string()], Some("exit"));
        assert_eq!(stored.events.only_exit_of(pid)["status"]["code"], code);
        assert_eq!(stored.all.len(), 1);
    }
    let binds = scenario.log(&["--kind", "bind"], Some("bind")).events;
    let refusal = binds.all.iter().find(|event| event["process"]["pid"] == scenario.refused);
    assert_eq!(refusal.expect("the refusal")["holders"][0]["process"]["pid"], scenario.holder);
    let named = scenario.log(&["--comm", "some-name"], Some("exit")).events;
    assert_eq!(named.all.len(), 2, "{named}");
    let port = scenario.log(&["--port", &scenario.port], None).events;
    for kind in ["listen", "bind", "release"] {
        assert_eq!(port.of_kind(kind).count(), 1, "{kind}: {port}");
    }
    let both = scenario.log(&["--kind", "listen,release", "--port", &scenario.port], None).events;
    assert_eq!(both.all.len(), 2, "{both}");
    let sessions = scenario.log(&["--kind", "session"], Some("session"));
    assert!(sessions.all.len() >= 3, "one for each segment: {:?}", sessions.all);
    let narrow = scenario.log(&["--comm", "some-name", "--pid", &scenario.late.to_string()], None);
    assert_eq!(narrow.all.len(), 1);
}

fn time_ranges_across_segments() {
    let scenario = Scenario::new();
    let at = scenario.between.to_string();
    let after = scenario.log(&["--since", &at], None).events;
    let before = scenario.log(&["--until", &at], None).events;
    after.only_exit_of(scenario.late);
    before.only_exit_of(scenario.named);
    assert_eq!(after.exits_of(scenario.named).count(), 0);
    assert_eq!(before.exits_of(scenario.late).count(), 0);
    let all = scenario.log(&["--since", "10m"], None);
    assert_eq!(all.all.len(), scenario.place.stored().all.len());
    all.events.only_exit_of(scenario.named);
    let none = scenario.place.output(&["log", "--json", "--until", "2020-01-01T00:00:00Z"]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(1), 0));
    let wrong = scenario.place.output(&["log", "--since", "yesteryear"]);
    assert_eq!(wrong.status.code(), Some(2));
}

fn each_format() {
    let scenario = Scenario::new();
    let filter = ["--comm", "some-name,workload"];
    let log = |format: &str| {
        let words = [&["log", "--format", format], &filter[..]].concat();
        scenario.place.text(&words)
    };
    let json = log("json");
    assert_eq!(json, scenario.place.text(&[&["log", "--json"], &filter[..]].concat()));
    let events: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(events.len() > 2);
    let rows = csv(&log("csv"));
    let column = |name: &str| {
        let at = rows[0].iter().position(|column| column == name).expect("a column");
        rows[1..].iter().map(|row| row[at].clone()).collect::<Vec<_>>()
    };
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let text = |event: &Value| event.to_string().trim_matches('"').to_owned();
    let seqs: Vec<_> = events.iter().map(|event| text(&event["seq"])).collect();
    let times: Vec<_> = events.iter().map(|event| text(&event["time"])).collect();
    assert_eq!(column("seq"), seqs);
    assert_eq!(column("time"), times);
    assert!(column("pid").contains(&scenario.late.to_string()));
    let ecs: Vec<Value> =
        log("ecs").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |pointer: &str| -> Vec<_> {
        ecs.iter().map(|event| event.pointer(pointer).map(text).unwrap_or_default()).collect()
    };
    assert_eq!(of("/@timestamp"), times);
    assert_eq!(of("/event/sequence"), seqs);
    assert!(of("/process/pid").contains(&scenario.named.to_string()));
    let text = log("text");
    for pid in [scenario.named, scenario.late] {
        assert!(text.contains(&pid.to_string()), "{pid} is not shown");
    }
    assert!(!text.contains('\x1b'), "it is no terminal");
}

/// Rows of RFC 4180: a quoted cell may contain anything.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            _ => cell.push(letter),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last row is torn");
    rows
}

fn nothing_matches() {
    let place = Place::new("");
    place.serve(&[]).stop();
    for filter in [
        ["--unit", "no-such-unit.service"],
        ["--comm", "no-such-name"],
        ["--container", "0123456789ab"],
        ["--user", "no-such-user"],
    ] {
        let output = place.output(&[&["log"], &filter[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{filter:?}");
        assert!(output.stdout.is_empty(), "{filter:?}");
    }
}

fn no_store() {
    let place = Place::new("");
    for words in [&["log"][..], &["log", "--json"], &["verify"], &["why"]] {
        let output = place.output(words);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(4), "{words:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    std::fs::create_dir(place.dir()).expect("room");
    // An empty folder has one answer.
    let said = |words: &[&str]| {
        let output = place.output(words);
        assert_eq!(output.status.code(), Some(4), "{words:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let log = said(&["log"]);
    assert!(log.contains("no events are stored in"), "{log}");
    for words in [&["verify"][..], &["why"], &["report", "-o", "-"]] {
        assert_eq!(said(words), log);
    }
}

fn why_a_port_was_refused() {
    let scenario = Scenario::new();
    let subject = format!(":{}", scenario.port);
    let reported = scenario.place.text(&["why", &subject, "--json"]);
    let incidents: Vec<Value> =
        reported.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!incidents.is_empty());
    for incident in &incidents {
        assert_eq!(incident["kind"], "incident");
    }
    let pids = |incident: &Value| incident["pids"].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = incidents.iter().flat_map(pids).collect();
    for pid in [scenario.holder, scenario.refused] {
        assert!(all.contains(&pid.into()), "{pid} is not in {incidents:#?}");
    }
    let text = scenario.place.text(&["why", &subject]);
    for pid in [scenario.holder, scenario.refused] {
        assert!(text.contains(&pid.to_string()), "{pid} is not in {text}");
    }
    assert!(text.contains(&scenario.port), "{text}");
    // The same by the process; a port without incidents has none.
    let by_pid = scenario.place.text(&["why", &format!("pid:{}", scenario.holder)]);
    assert!(by_pid.contains(&scenario.port), "{by_pid}");
    let output = scenario.place.output(&["why", "tcp:1"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains("no incident in the store concerns"), "{stderr}");
}
