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
    commands::{replay, schema},
    decode::Patterns,
    enrich::Users,
    kernel::recording::{Drain, Recording},
    model::{Body, Event},
    sinks::{style::Palette, text::TextFormat},
};

/// Every recording, as `6.12/oom`.
fn recordings() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let kernels = entries(&folder).into_iter().filter(|entry| entry.is_dir());
    let mut files: Vec<PathBuf> = kernels.flat_map(|kernel| entries(&kernel)).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "rec"));
    files.sort();
    assert!(!files.is_empty(), "no recordings in {}", folder.display());
    let name = |file: &Path| {
        file.strip_prefix(&folder).expect("inside").with_extension("").display().to_string()
    };
    files.into_iter().map(|file| (name(&file), file)).collect()
}

fn one_recording() -> PathBuf {
    recordings().swap_remove(0).1
}

fn replayed(recording: &Recording) -> Vec<Event> {
    let names = [(0, "root".into()), (65534, "nobody".into())];
    replay::events(recording, Users::fixed(names.into())).expect("events")
}

#[test]
fn events_and_text() {
    for (name, file) in recordings() {
        let recording = Recording::read(&file).expect("a recording");
        assert_eq!(recording.cut_at, None, "{name}");
        let events = replayed(&recording);
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
    for (name, file) in recordings() {
        for event in replayed(&Recording::read(&file).expect("a recording")) {
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
        events.iter().find(|event| event.seq == seq).map(|event| match &event.body {
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

/// When the rings are drained is chance; who died of what is not.
#[test]
fn drains_change_nothing() {
    for (name, file) in recordings() {
        let recording = Recording::read(&file).expect("a recording");
        let expected = deaths(&replayed(&recording));
        let mut at_once = recording.clone();
        let records: Vec<_> = recording.drains.iter().flat_map(|d| d.records.clone()).collect();
        let now_ns = recording.drains.iter().map(|drain| drain.now_ns).max().unwrap_or(0);
        let looks = recording.drains.iter().flat_map(|d| d.looks.clone()).collect();
        at_once.drains =
            vec![Drain { now_ns, records: records.clone(), looks, losses: Vec::new() }];
        assert_eq!(deaths(&replayed(&at_once)), expected, "{name}, all at once");
        // Only a pattern comes before whatever is like it.
        let mut patterns = Patterns::default();
        let whole = |record| patterns.read(record).whole().into_owned();
        at_once.drains[0].records = records.iter().map(whole).collect();
        at_once.drains[0].records.reverse();
        assert_eq!(deaths(&replayed(&at_once)), expected, "{name}, the other way round");
        let mut twice = recording.clone();
        for drain in &mut twice.drains {
            drain.records = drain.records.iter().cloned().chain(drain.records.clone()).collect();
        }
        assert_eq!(deaths(&replayed(&twice)), expected, "{name}, each record twice");
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
fn the_command_tells_the_same() {
    let file = one_recording();
    let events = replayed(&Recording::read(&file).expect("a recording"));
    let output = observer(&["--json"], &file);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout.split(|b| *b == b'\n').count(), events.len() + 1);
    let output = observer(&["--kind", "exit", "--comm", "nobody-has-this-name"], &file);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().filter(|line| !line.starts_with(' ')).count(), 1, "{text}");
}

#[test]
fn broken_files_are_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.rec");
    let mut bytes = fs::read(one_recording()).expect("a recording");
    bytes.truncate(bytes.len() - 5);
    for (bytes, status, words) in [
        (bytes, 1, "cut off at byte"),
        (b"ELF".to_vec(), 4, "not a recording"),
        (Vec::new(), 4, "not a recording"),
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
