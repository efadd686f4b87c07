//! What the fuzz targets share: what must hold for every event, and a folder in memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use observer::{
    diagnose::incident::Incidents,
    format::{csv, ecs, style::Palette, text::TextFormat},
    model::{Body, Event},
    sanitize::sanitize,
};

/// Shows an event in every format: none may panic, and nothing that a process chose may end a line or move a cursor.
pub fn show(event: &Event) {
    let text = TextFormat::new(Palette::PLAIN, TimeZone::UTC).event(event);
    assert!(text.is_empty() || text.ends_with('\n'), "a line without end: {text:?}");
    for line in text.lines() {
        assert_eq!(sanitize(line), line, "not safe on a terminal");
    }
    if let Ok(line) = csv::event(event) {
        let mut reader =
            ::csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let rows: Vec<_> = reader.records().map(|row| row.expect("CSV").len()).collect();
        assert_eq!(rows, [15], "not one row: {line:?}");
        assert_eq!(line.lines().count(), 1, "not one line: {line:?}");
    }
    if let Ok(line) = ecs::event(event) {
        assert!(!line.contains(['\n', '\r']), "not one line: {line:?}");
        serde_json::from_str::<serde_json::Value>(&line).expect("JSON");
    }
    let line = serde_json::to_string(event).expect("JSON");
    assert!(!line.contains(['\n', '\r']), "not one line: {line:?}");
    let again: Event = serde_json::from_str(&line).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), line);
}

/// Joins events into incidents, as `why` does with a store, and shows those too.
pub fn narrate(events: &[Event]) {
    let Some(first) = events.first() else { return };
    let mut incidents = Incidents::looking_back();
    let mut grown = Vec::new();
    for event in events {
        grown.extend(incidents.push(event));
    }
    grown.extend(incidents.finish());
    for incident in grown {
        show(&Event { body: Body::Incident(Box::new(incident)), ..first.clone() });
    }
}

/// An empty folder, in memory where there is some, for this process alone.
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    // A run ends by leaving the process, without a chance to tidy up: the next one does.
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("observer-fuzz-"));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = base.join(format!("observer-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}
