//! Checks events against the schema that `observer schema` prints.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use crate::observer;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let printed = observer::command(["schema"]).output().expect("observer schema runs");
    let schema: Value = serde_json::from_slice(&printed.stdout).expect("a schema is JSON");
    jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12")
});

/// Keys that every event has.
const ALWAYS: [&str; 6] = ["schema", "seq", "time", "kind", "boot_id", "host"];

/// What is wrong with an event. Values are printed only when it is `ours`.
pub fn faults(event: &Value, ours: bool) -> Vec<String> {
    let kind = &event["kind"];
    let missing = ALWAYS.iter().filter(|key| event.get(key).is_none());
    let missing = missing.map(|key| format!("{kind} event without `{key}`"));
    let wrong = SCHEMA.iter_errors(event).map(|error| {
        let place = error.instance_path().to_string();
        if ours {
            format!("{kind} event against the schema at {place}: {error}")
        } else {
            format!("{kind} event (of somebody else) against the schema at {place}")
        }
    });
    missing.chain(wrong).collect()
}
