//! Checks events against the schema that `observer schema` prints.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use crate::{observer, ours};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let printed = observer::command(["schema"]).output().expect("observer schema runs");
    let schema: Value = serde_json::from_slice(&printed.stdout).expect("a schema is JSON");
    jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12")
});

/// Keys that every event has.
const ALWAYS: [&str; 5] = ["schema", "time", "kind", "boot_id", "host"];

/// What is wrong with an event. Values are printed only when it is `ours`.
pub fn faults(event: &Value, ours: bool) -> Vec<String> {
    let kind = &event["kind"];
    let missing = ALWAYS.iter().filter(|key| event.get(key).is_none());
    let missing = missing.map(|key| format!("{kind} event without `{key}`"));
    let unnumbered = (event["seq"].is_null() && !may_lack_seq(event))
        .then(|| format!("{kind} event without `seq`"));
    let wrong = SCHEMA.iter_errors(event).map(|error| {
        let place = error.instance_path().to_string();
        if ours {
            format!("{kind} event against the schema at {place}: {error}")
        } else {
            format!("{kind} event (of somebody else) against the schema at {place}")
        }
    });
    missing.chain(unnumbered).chain(wrong).collect()
}

/// What is not stored: an exit with code 0 or of a flood, which only `--all` shows, an incident that grows, the state that a client gets when it
/// joins, and the loss of a client that did not read.
fn may_lack_seq(event: &Value) -> bool {
    match event["kind"].as_str() {
        Some("exit") => event["status"]["code"] == 0 || event["process"]["uid"] == ours::FLOODER,
        Some("incident") => event["open"] == true,
        Some("listen") => event["initial"] == true,
        Some("session" | "loss") => true,
        _ => false,
    }
}
