//! `observer report` over a folder of records.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use common::event;
use serde_json::{Value, json};

fn report(dir: &Path, words: &[&str]) -> Output {
    common::observer(dir, &[&["report"], words].concat())
}

fn exit(seq: u64, second: u64, process: &Value, code: u32, released: &[Value]) -> String {
    let cause = json!({"type": "exit_code", "summary": format!("ended by itself with exit code {code}"),
        "evidence": [], "confidence": "certain"});
    let status = json!({"code": code, "shell_status": code});
    let body = json!({"process": process, "status": status, "lifetime_seconds": 5.0, "cause": cause,
        "released": released});
    event(seq, second, "exit", &body)
}

/// A server of port 8080 fails and is not replaced for a while; others end in order.
fn record() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let node = json!({"pid": 2211, "ppid": 1, "comm": "<i>node", "unit": "shop.service"});
    let cron = json!({"pid": 900, "ppid": 1, "comm": "cron", "unit": "cron.service"});
    let port = json!({"protocol": "tcp", "address": "127.0.0.1", "port": 8080});
    let lines = [
        event(1, 1, "listen", &json!({"process": node, "socket": port})),
        exit(2, 10, &node, 1, std::slice::from_ref(&port)),
        exit(3, 20, &cron, 0, &[]),
        "{\"schema\":1,\"seq\n".to_owned(),
        event(4, 41, "listen", &json!({"process": node, "socket": port})),
        exit(5, 50, &cron, 3, &[]),
    ];
    let name = "observer-000001-20261122T143201Z.jsonl";
    fs::write(folder.path().join(name), lines.concat()).expect("written");
    folder
}

#[test]
fn the_whole_story_in_a_file_of_its_own() {
    let folder = record();
    let file = folder.path().join("night.html");
    let output = report(folder.path(), &["-o", file.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty());
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let page = fs::read_to_string(&file).expect("a page");
    for part in [
        "nobody served tcp 127.0.0.1:8080 for 31 s",
        "&lt;i&gt;node 2211",
        "<rect class=\"outage\"",
        "<strong>nobody</strong>",
        "1 death with exit code 0 left out",
        "1 line of the store cannot be read",
        "VERIFICATION FAILED",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<i>node"));
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
}

#[test]
fn filters_and_standard_output() {
    let folder = record();
    let page = |words: &[&str]| {
        let output = report(folder.path(), &[&["-o", "-"], words].concat());
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (status, text) = page(&["--all"]);
    assert_eq!(status, Some(0));
    assert!(text.contains("3 deaths"), "{text}");
    let (_, text) = page(&["--unit", "cron"]);
    assert!(text.contains("1 death<") && !text.contains("8080"), "{text}");
    let (_, text) = page(&["--port", "8080", "--kind", "exit"]);
    assert!(text.contains("1 death<") && text.contains("0 incidents"), "{text}");
    // The gap began before that time and reaches into it.
    let (_, text) = page(&["--since", "2026-11-22T14:32:30Z", "--until", "2026-11-22T14:32:45Z"]);
    assert!(text.contains("0 deaths") && text.contains("outage 31 s"), "{text}");
    for nothing in
        [&["--unit", "none"][..], &["--since", "2026-11-23T00:00:00Z"], &["--port", "80"]]
    {
        assert_eq!(page(nothing), (Some(1), String::new()), "{nothing:?}");
    }
}

#[test]
fn what_cannot_be_done_is_told_in_one_line() {
    let folder = record();
    let empty = tempfile::tempdir().expect("a folder");
    let there = folder.path().to_str().expect("a path");
    let nowhere = folder.path().join("no/page.html");
    for (dir, words, status, said) in [
        (empty.path(), &["-o", "-"][..], 4, "no events are stored"),
        (folder.path(), &["-o", there], 4, "is a folder"),
        (folder.path(), &["-o", "/dev/null"], 4, "no regular file"),
        (folder.path(), &["-o", nowhere.to_str().expect("a path")], 4, "can't write"),
        (folder.path(), &[], 2, "--output"),
        (folder.path(), &["-o", "-", "--since", "1h", "--until", "2h"], 2, "--since lies after"),
    ] {
        let output = report(dir, words);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {text}");
        assert!(text.contains(said), "{text}");
        assert!(output.stdout.is_empty());
    }
    let output = report(
        folder.path(),
        &["-o", folder.path().join("x").to_str().expect("a path"), "--pid", "7"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!folder.path().join("x").exists());
}
