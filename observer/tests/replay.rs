//! Recordings of named kernels, through the same stages as the live kernel's records: no root, the same on every machine.
//!
//! What changes here changes what people read. Bless with `INSTA_UPDATE=always cargo test -p observer --test replay` once
//! the difference is what was meant; record anew with `fixtures/recordings/record.sh`.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jiff::tz::TimeZone;
use observer::{
    commands::schema,
    decode::Patterns,
    engine::{Input, capture::Capture, replay},
    enrich::Users,
    format::{
        json::{self, JsonLines},
        style::Palette,
        text::TextFormat,
    },
    model::{Body, Event},
};

/// Every capture, as `6.12/oom`.
fn captures() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let kernels = entries(&folder).into_iter().filter(|entry| entry.is_dir());
    let mut files: Vec<PathBuf> = kernels.flat_map(|kernel| entries(&kernel)).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "rec"));
    files.sort();
    assert!(!files.is_empty(), "no captures in {}", folder.display());
    let name = |file: &Path| {
        file.strip_prefix(&folder).expect("inside").with_extension("").display().to_string()
    };
    files.into_iter().map(|file| (name(&file), file)).collect()
}

fn one_capture() -> PathBuf {
    captures().swap_remove(0).1
}

fn replayed(capture: &Capture) -> Vec<Event> {
    let names = [(0, "root".into()), (65534, "nobody".into())];
    replay::events(capture, Users::fixed(names.into()))
}

#[test]
fn events_and_text() {
    for (name, file) in captures() {
        let capture = Capture::read(&file).expect("a capture");
        assert_eq!(capture.cut_at, None, "{name}");
        let events = replayed(&capture);
        let json: Vec<String> =
            events.iter().map(|event| serde_json::to_string_pretty(event).expect("JSON")).collect();
        let format = TextFormat::new(Palette::PLAIN, TimeZone::UTC);
        let text: String = events.iter().map(|event| format.event(event)).collect();
        let name = name.replace('/', "-");
        insta::with_settings!({ prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("{name}.json"), json.join("\n"));
            insta::assert_snapshot!(format!("{name}.text"), text);
        });
    }
}

#[test]
fn every_event_is_as_the_schema_says() {
    let schema = serde_json::from_str(&schema::text().expect("a schema")).expect("JSON");
    let schema = jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12");
    for (name, file) in captures() {
        for event in replayed(&Capture::read(&file).expect("a capture")) {
            let value = serde_json::to_value(&event).expect("JSON");
            let faults: Vec<String> =
                schema.iter_errors(&value).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{name}: {faults:?}: {value:#}");
            let line = serde_json::to_string(&event).expect("JSON");
            let back: Event = serde_json::from_str(&line).expect("what was written can be read");
            assert_eq!(serde_json::to_string(&back).expect("JSON"), line);
        }
    }
}

/// Which process died of what, and of whose SIGKILL or memory.
fn deaths(events: &[Event]) -> Vec<String> {
    let victim = |seq| {
        events.iter().find(|event| event.seq == Some(seq)).map(|event| match &event.body {
            Body::Oom(oom) => oom.victim.pid,
            other => panic!("event {seq} is no OOM kill: {other:?}"),
        })
    };
    let mut deaths: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Exit(exit) => {
                let oom = exit.cause.oom_seq.map(|seq| victim(seq).expect("an event"));
                let sender = exit.cause.sender.as_ref().map(|sender| sender.pid);
                let (pid, kind) = (exit.process.pid, exit.cause.cause_type);
                Some(format!("{pid} {kind:?} {oom:?} {sender:?}"))
            }
            _ => None,
        })
        .collect();
    deaths.sort();
    deaths
}

#[test]
fn deaths_do_not_depend_on_when_rings_are_drained() {
    for (name, file) in captures() {
        let capture = Capture::read(&file).expect("a capture");
        let expected = deaths(&replayed(&capture));
        let mut at_once = capture.clone();
        let mut records = Vec::new();
        let (mut first, mut later) = (Vec::new(), Vec::new());
        let now_ns = capture.inputs.iter().map(|(now_ns, _)| *now_ns).max().unwrap_or(0);
        for (_, input) in &capture.inputs {
            match input {
                Input::Records(drained) => records.extend(drained.clone()),
                Input::Scan(_) => later.push((now_ns, input.clone())),
                Input::Symbols(_) => first.push((now_ns, input.clone())),
                Input::Clock(_) | Input::Tick | Input::Repeats(_) | Input::Loss(_) => {}
            }
        }
        let inputs = |records| [&first[..], &[(now_ns, Input::Records(records))], &later].concat();
        at_once.inputs = inputs(records.clone());
        assert_eq!(deaths(&replayed(&at_once)), expected, "{name}, all at once");
        // Only a pattern comes before whatever is like it.
        let mut patterns = Patterns::default();
        let whole = |record| patterns.read(record).whole().into_owned();
        let mut backwards: Vec<_> = records.iter().map(whole).collect();
        backwards.reverse();
        at_once.inputs = inputs(backwards);
        assert_eq!(deaths(&replayed(&at_once)), expected, "{name}, the other way round");
        let mut twice = capture.clone();
        for (_, input) in &mut twice.inputs {
            if let Input::Records(records) = input {
                *records = [&records[..], &records[..]].concat();
            }
        }
        assert_eq!(deaths(&replayed(&twice)), expected, "{name}, each record twice");
    }
}

/// The lines of a capture's events. A record that is completed before the engine sees it takes the long way.
#[test]
fn lines_of_deaths_that_are_alike_are_those_of_the_long_way() {
    for (name, file) in captures() {
        let capture = Capture::read(&file).expect("a capture");
        let mut lines = JsonLines::default();
        let mut ours = Vec::new();
        for event in replayed(&capture) {
            lines.line(&event, &mut ours).expect("JSON");
        }
        let (mut patterns, mut completed) = (Patterns::default(), capture);
        for (_, input) in &mut completed.inputs {
            if let Input::Records(records) = input {
                for record in records {
                    let whole = patterns.read(record).whole().into_owned();
                    *record = whole;
                }
            }
        }
        let mut theirs = Vec::new();
        for event in replayed(&completed) {
            json::line(&event, &mut theirs).expect("JSON");
        }
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{name}");
    }
}

fn observer(words: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_observer"))
        .arg("replay")
        .arg(file)
        .args(words)
        .env("TZ", "UTC")
        .env_remove("RUST_LOG")
        .output()
        .expect("observer runs")
}

#[test]
fn the_command_shows_the_same_events() {
    let file = one_capture();
    let events = replayed(&Capture::read(&file).expect("a capture"));
    let output = observer(&["--json"], &file);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout.split(|b| *b == b'\n').count(), events.len() + 1);
    let output = observer(&["--kind", "exit", "--comm", "nobody-has-this-name"], &file);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().filter(|line| !line.starts_with(' ')).count(), 1, "{text}");
}

#[test]
fn a_broken_file_is_one_line_on_stderr() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.rec");
    let mut bytes = fs::read(one_capture()).expect("a capture");
    bytes.truncate(bytes.len() - 5);
    for (bytes, status, words) in [
        (bytes, 1, "cut off at byte"),
        (b"ELF".to_vec(), 4, "not a capture"),
        (Vec::new(), 4, "not a capture"),
    ] {
        fs::write(&file, bytes).expect("written");
        let output = observer(&[], &file);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(status == 1 || said.lines().count() == 1, "{said}");
    }
    assert_eq!(observer(&[], &folder.path().join("none")).status.code(), Some(4));
}
