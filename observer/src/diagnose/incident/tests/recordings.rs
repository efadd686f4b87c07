//! Real events, as the replay tests hold them.

use std::{fs, path::Path};

use super::super::{Incidents, incidents};
use crate::model::{Body, Event};

/// Every event of every recording, by recording.
fn recorded() -> Vec<(String, Vec<Event>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.filter(|name| name.ends_with(".json.snap")).unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a snapshot");
        let (_, json) = text.split_once("\n---\n").expect("a header");
        let values = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>();
        let events = values.map(|value| {
            let value = value.expect("JSON");
            let event: Event = serde_json::from_value(value.clone()).expect("an event");
            assert_eq!(serde_json::to_value(&event).expect("JSON"), value, "{name}");
            event
        });
        let events: Vec<Event> = events.collect();
        all.push((name, events));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!all.is_empty(), "no snapshots in {}", folder.display());
    all
}

#[test]
fn both_ways_agree_on_real_events() {
    for (name, events) in recorded() {
        let emitted = incidents(&events);
        let mut live = Incidents::default();
        let mut final_ones: Vec<_> = events.iter().flat_map(|event| live.push(event)).collect();
        final_ones.retain(|incident| !incident.open);
        final_ones.extend(live.finish());
        final_ones.sort_by(|a, b| (a.from, &a.events).cmp(&(b.from, &b.events)));
        assert_eq!(emitted, final_ones, "{name}");
        for incident in &emitted {
            assert!(incident.events.iter().all(|seq| events.iter().any(|e| e.seq == Some(*seq))));
        }
        let refused = events
            .iter()
            .filter(|event| matches!(&event.body, Body::Bind(bind) if !bind.holders.is_empty()));
        for event in refused {
            assert!(emitted.iter().any(|i| i.events.contains(&event.number())), "{name} {event:?}");
        }
    }
}

/// What the newest kernel's recordings become.
#[test]
fn real_incidents() {
    let mut text = String::new();
    for (name, events) in recorded() {
        if !name.starts_with("6.12-ports") && !name.starts_with("6.12-oom") {
            continue;
        }
        text.push_str(&format!("{name}\n"));
        for incident in incidents(&events) {
            text.push_str(&super::scenario::text(incident));
        }
    }
    insta::assert_snapshot!(text);
}
