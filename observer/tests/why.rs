//! `observer why` over a folder of records.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, process::Output};

use common::event;
use serde_json::{Value, json};

fn why(dir: &Path, words: &[&str]) -> Output {
    common::observer(dir, &[&["why"], words].concat())
}

/// A server of port 8080 crashes, one of port 443 does not; the record has a torn line in its midst.
fn record() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let node = json!({"pid": 2211, "ppid": 1, "comm": "node", "unit": "shop.service"});
    let nginx = json!({"pid": 812, "ppid": 1, "comm": "nginx", "unit": "nginx.service"});
    let port = |port: u16| json!({"protocol": "tcp", "address": "127.0.0.1", "port": port});
    let listen = |process: &Value, socket| json!({"process": process, "socket": socket});
    let cause = json!({"type": "abort", "summary": "aborted itself (SIGABRT)", "evidence": [],
        "confidence": "certain"});
    let status = json!({"signal": 6, "signal_name": "SIGABRT", "shell_status": 134});
    let exit = json!({"process": node, "status": status, "lifetime_seconds": 5.0, "cause": cause,
        "released": [port(8080)]});
    let first = [
        event(1, 1, "listen", &listen(&nginx, port(443))),
        event(2, 2, "listen", &listen(&node, port(8080))),
        "{\"schema\":1,\"seq\n".to_owned(),
    ];
    let second = [event(3, 15, "exit", &exit), event(4, 46, "listen", &listen(&nginx, port(8081)))];
    fs::write(folder.path().join("observer-000001-a.jsonl"), first.concat()).expect("written");
    fs::write(folder.path().join("observer-000002-b.jsonl"), second.concat()).expect("written");
    fs::write(folder.path().join("c.txt"), "no record").expect("written");
    folder
}

#[test]
fn every_form_finds_the_story() {
    let folder = record();
    let forms = [
        &[][..],
        &[":8080"],
        &["8080"],
        &["tcp:8080"],
        &["pid:2211"],
        &["shop.service"],
        &[":8080", "--since", "2026-11-22T14:00:00Z", "-n", "1"],
    ];
    for words in forms {
        let output = why(folder.path(), words);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
        assert!(text.contains("nobody has served tcp 127.0.0.1:8080 for 31 s"), "{text}");
        assert!(text.contains("node 2211 (shop.service) aborted itself"), "{text}");
    }
    let output = why(folder.path(), &["8080", "--json"]);
    let event: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(event["kind"], "incident");
    assert_eq!(event["subject"], "tcp:8080");
    assert_eq!(event["open"], true);
    assert_eq!(event["outage_seconds"], 31.0);
    assert_eq!(event["events"], json!([3]));
}

#[test]
fn nothing_happened_to_it() {
    let folder = record();
    let output = why(folder.path(), &[":443"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let span = "from 2026-11-22 14:32:01 to 2026-11-22 14:32:46";
    let said: Vec<&str> = said.lines().collect();
    let torn = "observer: 1 line can't be read: `observer verify` says which";
    let nothing = format!("observer: no incident in the store concerns :443, {span}");
    assert_eq!(said, [torn, &nothing]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "14:32:01.000  nginx.service  nginx 812  serves tcp 127.0.0.1:443\n");
    for words in
        [&["udp:8080"][..], &["pid:1"], &["@x"], &["8080", "--until", "2026-11-22T14:00:00Z"]]
    {
        let output = why(folder.path(), words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

/// A stop that was asked for is no incident, but who asks about it wants to know.
#[test]
fn no_story_but_events() {
    let folder = tempfile::tempdir().expect("a folder");
    let cause = json!({"type": "killed", "summary": "killed by SIGKILL from systemd 1, 2.0 s after SIGTERM",
        "evidence": [], "confidence": "certain",
        "prompted_by": {"signal": 15, "signal_name": "SIGTERM", "seconds": 2.0}});
    let exit = json!({"process": {"pid": 77, "ppid": 1, "comm": "deaf", "unit": "deaf.service"},
        "status": {"signal": 9, "signal_name": "SIGKILL", "shell_status": 137},
        "lifetime_seconds": 5.0, "cause": cause});
    let line = event(1, 1, "exit", &exit);
    fs::write(folder.path().join("observer-000001-a.jsonl"), line).expect("written");
    for subject in ["deaf.service", "pid:77"] {
        let output = why(folder.path(), &[subject]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("SIGKILL from systemd 1, 2.0 s after SIGTERM"), "{text}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("only 1 event in the store"), "{said}");
    }
    let later = ["pid:77", "--since", "2026-11-22T15:00:00Z"];
    assert_eq!(why(folder.path(), &later).status.code(), Some(1));
}

#[test]
fn what_cannot_be_done_is_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    for (dir, words, status, said) in [
        (folder.path().join("none"), "80", 4, "is the service running"),
        (folder.path().to_owned(), "80", 4, "no events are stored"),
        (folder.path().to_owned(), "node", 2, "tcp:8080"),
    ] {
        let output = why(&dir, &[words]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(said), "{text}");
        assert!(status == 2 || text.lines().count() == 1, "{text}");
    }
}
