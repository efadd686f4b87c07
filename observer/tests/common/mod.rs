//! What the tests of commands over a folder of records have in common.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

/// `observer` over the records in `dir`, with no service, in UTC.
pub(crate) fn observer(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_observer"))
        .args(["--dir".as_ref(), dir.as_os_str()])
        .args(["--socket", "/nonexistent/observer.sock"])
        .args(words)
        .env("TZ", "UTC")
        .env_remove("RUST_LOG")
        .output()
        .expect("observer runs")
}

/// A line of a record, at a second of 14:32.
pub(crate) fn event(seq: u64, second: u64, kind: &str, body: &Value) -> String {
    let time = format!("2026-11-22T14:32:{second:02}.000000000Z");
    let mut event = json!({"schema": 1, "seq": seq, "time": time, "boot_id": "b", "host": "shop", "kind": kind});
    event.as_object_mut().expect("an object").extend(body.as_object().expect("one").clone());
    event.to_string() + "\n"
}
