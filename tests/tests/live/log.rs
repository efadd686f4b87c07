//! Looking back: `observer log` and `observer why` over a night that is over.

use std::time::Instant;

use jiff::Timestamp;
use observer_tests::{Place, Record, Workload, patience, run};
use serde_json::Value;

crate::tests![
    filters_over_all_segments,
    times_over_all_segments,
    each_format,
    nothing_matches,
    no_record_at_all,
    why_a_port_was_refused,
];

/// What is known of the night: its first events lie in compressed segments, the last in the one
/// that is not.
struct Night {
    place: Place,
    port: String,
    holder: u32,
    refused: u32,
    named: u32,
    between: Timestamp,
    late: u32,
}

impl Night {
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

    /// What a filter lets through; of `kind` alone, if one is given.
    fn log(&self, filter: &[&str], kind: Option<&str>) -> Record {
        let record = Record::read(&self.place.text(&[&["log", "--json"], filter].concat()));
        if let Some(kind) = kind {
            let other = record.all.iter().find(|(_, other)| other != kind);
            assert!(other.is_none(), "{filter:?}: {other:?}");
        }
        record
    }
}

fn filters_over_all_segments() {
    let night = Night::new();
    for (pid, code) in [(night.named, 3), (night.late, 4)] {
        let record = night.log(&["--pid", &pid.to_string()], Some("exit"));
        assert_eq!(record.story.only_exit_of(pid)["status"]["code"], code);
        assert_eq!(record.all.len(), 1);
    }
    let binds = night.log(&["--kind", "bind"], Some("bind")).story;
    let refusal = binds.events.iter().find(|event| event["process"]["pid"] == night.refused);
    assert_eq!(refusal.expect("the refusal")["holders"][0]["process"]["pid"], night.holder);
    let named = night.log(&["--comm", "some-name"], Some("exit")).story;
    assert_eq!(named.events.len(), 2, "{named}");
    let port = night.log(&["--port", &night.port], None).story;
    for kind in ["listen", "bind", "release"] {
        assert_eq!(port.of_kind(kind).count(), 1, "{kind}: {port}");
    }
    let both = night.log(&["--kind", "listen,release", "--port", &night.port], None).story;
    assert_eq!(both.events.len(), 2, "{both}");
    let sessions = night.log(&["--kind", "session"], Some("session"));
    assert!(sessions.all.len() >= 3, "one for each segment: {:?}", sessions.all);
    let narrow = night.log(&["--comm", "some-name", "--pid", &night.late.to_string()], None);
    assert_eq!(narrow.all.len(), 1);
}

fn times_over_all_segments() {
    let night = Night::new();
    let at = night.between.to_string();
    let after = night.log(&["--since", &at], None).story;
    let before = night.log(&["--until", &at], None).story;
    after.only_exit_of(night.late);
    before.only_exit_of(night.named);
    assert_eq!(after.exits_of(night.named).count(), 0);
    assert_eq!(before.exits_of(night.late).count(), 0);
    let all = night.log(&["--since", "10m"], None);
    assert_eq!(all.all.len(), night.place.record().all.len());
    all.story.only_exit_of(night.named);
    let none = night.place.output(&["log", "--json", "--until", "2020-01-01T00:00:00Z"]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(1), 0));
    let wrong = night.place.output(&["log", "--since", "yesteryear"]);
    assert_eq!(wrong.status.code(), Some(2));
}

fn each_format() {
    let night = Night::new();
    let filter = ["--comm", "some-name,workload"];
    let log = |format: &str| {
        let words = [&["log", "--format", format], &filter[..]].concat();
        night.place.text(&words)
    };
    let json = log("json");
    assert_eq!(json, night.place.text(&[&["log", "--json"], &filter[..]].concat()));
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
    assert!(column("pid").contains(&night.late.to_string()));
    let ecs: Vec<Value> =
        log("ecs").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |pointer: &str| -> Vec<_> {
        ecs.iter().map(|event| event.pointer(pointer).map(text).unwrap_or_default()).collect()
    };
    assert_eq!(of("/@timestamp"), times);
    assert_eq!(of("/event/sequence"), seqs);
    assert!(of("/process/pid").contains(&night.named.to_string()));
    let text = log("text");
    for pid in [night.named, night.late] {
        assert!(text.contains(&pid.to_string()), "{pid} is not told");
    }
    assert!(!text.contains('\x1b'), "it is no terminal");
}

/// Rows of RFC 4180: a quoted cell may have anything in it.
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

fn no_record_at_all() {
    let place = Place::new("");
    for words in [&["log"][..], &["log", "--json"], &["verify"], &["why"]] {
        let output = place.output(words);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(4), "{words:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    std::fs::create_dir(place.dir()).expect("room");
    assert_eq!(place.output(&["log"]).status.code(), Some(1));
    assert_eq!(place.output(&["verify"]).status.code(), Some(4));
    assert_eq!(place.output(&["why"]).status.code(), Some(4));
}

fn why_a_port_was_refused() {
    let night = Night::new();
    let subject = format!(":{}", night.port);
    let told = night.place.text(&["why", &subject, "--json"]);
    let incidents: Vec<Value> =
        told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!incidents.is_empty());
    for incident in &incidents {
        assert_eq!(incident["kind"], "incident");
    }
    let pids = |incident: &Value| incident["pids"].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = incidents.iter().flat_map(pids).collect();
    for pid in [night.holder, night.refused] {
        assert!(all.contains(&pid.into()), "{pid} is not in {incidents:#?}");
    }
    let text = night.place.text(&["why", &subject]);
    for pid in [night.holder, night.refused] {
        assert!(text.contains(&pid.to_string()), "{pid} is not in {text}");
    }
    assert!(text.contains(&night.port), "{text}");
    // The same by its process, and none of what is nobody's.
    let by_pid = night.place.text(&["why", &format!("pid:{}", night.holder)]);
    assert!(by_pid.contains(&night.port), "{by_pid}");
    let output = night.place.output(&["why", "tcp:1"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains("no incident concerns"), "{stderr}");
}
