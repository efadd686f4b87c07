//! Who did it: a sender is what it was when it sent, and a signal that was generated may not be the one that ended the process.

use observer_tests::{Observer, Workload, assert_has, binaries, run};
use serde_json::{Value, json};

/// Starts a victim of another user and a deceiver, and returns the victim's `exit`.
fn exit_by(victim_words: &[&str], deceiver_words: &[&str]) -> Value {
    let mut observer = Observer::tail(&[]);
    let mut victim = Workload::start_ready([&["as-user", "65534"], victim_words].concat());
    let pid = victim.pid().to_string();
    let words: Vec<&str> =
        deceiver_words.iter().map(|word| if *word == "PID" { &pid } else { *word }).collect();
    let _deceiver = run(words);
    victim.wait();
    observer.exit_of(victim.pid());
    observer.stop().events.only_exit_of(victim.pid()).clone()
}

pub(super) fn a_sender_that_executes_another_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("other");
    std::fs::copy(binaries::workload(), &other).expect("room for a copy");
    let other = other.to_str().expect("UTF-8");
    let victim = ["ignore-term", "ignored"];
    let exit = exit_by(&victim, &["send-then-exec", "PID", other, "send", "kill", "9", "PID"]);
    let own = binaries::workload().to_str().expect("UTF-8").to_owned();
    let killer = json!({"exe": other, "comm": "other", "args": [other, "send", "kill", "9"]});
    let before = json!({"exe": own, "comm": "workload"});
    let cause = json!({"type": "killed", "sender": {"exe": other, "comm": "other"}});
    assert_has(&exit, &json!({"cause": cause}));
    assert_has(&exit["cause"]["prompted_by"]["sender"], &before);
    let args = exit["cause"]["sender"]["args"].as_array().expect("its arguments");
    assert_eq!(args[..4], *killer["args"].as_array().expect("a list"), "{exit:#}");
}

pub(super) fn a_sender_that_changes_user_and_name() {
    let victim = ["ignore-term", "ignored"];
    let exit = exit_by(&victim, &["send-then-change", "65534", "innocent", "PID"]);
    let now = json!({"uid": 65534, "comm": "innocent"});
    let then = json!({"uid": 0, "comm": "workload"});
    let cause = json!({"type": "killed", "sender": now, "prompted_by": {"sender": then}});
    assert_has(&exit, &json!({"cause": cause}));
}

pub(super) fn a_tracer_keeps_a_signal_back() {
    let mut observer = Observer::tail(&[]);
    let mut victim = Workload::start_ready(["as-user", "65534", "wait"]);
    let tracer = ["as-user", "65534", "trace", &victim.pid().to_string()].map(str::to_owned);
    let mut tracer = Workload::start_ready(tracer);
    victim.signal(libc::SIGTERM);
    tracer.wait();
    victim.wait();
    observer.exit_of(victim.pid());
    let exit = observer.stop().events.only_exit_of(victim.pid()).clone();
    assert_has(&exit, &json!({"status": {"signal": 15}, "cause": {"confidence": "likely"}}));
    let evidence = exit["cause"]["evidence"].to_string();
    assert!(evidence.contains("being traced"), "{exit:#}");
}

pub(super) fn a_signal_that_was_handled() {
    let mut observer = Observer::tail(&[]);
    let mut victim = Workload::start_ready(["as-user", "65534", "handle-then-end"]);
    victim.signal(libc::SIGTERM);
    victim.wait();
    observer.exit_of(victim.pid());
    let exit = observer.stop().events.only_exit_of(victim.pid()).clone();
    let asked = json!({"signal": 15, "sender": {"pid": std::process::id()}});
    let own = json!({"pid": victim.pid()});
    let cause = json!({"type": "killed", "sender": own, "prompted_by": asked});
    assert_has(&exit, &json!({"status": {"signal": 15}, "cause": cause}));
}

pub(super) fn a_message_and_a_write_kill_nobody() {
    let name = format!("/observer-test-{}", std::process::id());
    let exit = exit_by(&["watch-queue", &name], &["as-user", "65534", "message", &name]);
    let cause = json!({"type": "kernel", "sender": null, "confidence": "likely"});
    assert_has(&exit, &json!({"status": {"signal": 9}, "cause": cause}));
    assert!(exit["cause"]["summary"].to_string().contains("mq_notify"), "{exit:#}");

    let mut observer = Observer::tail(&[]);
    let mut victim = Workload::start(["as-user", "65534", "watch-pipe"]);
    victim.value("child_pid");
    victim.wait();
    observer.exit_of(victim.pid());
    let exit = observer.stop().events.only_exit_of(victim.pid()).clone();
    assert_has(&exit, &json!({"status": {"signal": 9}, "cause": cause}));
    assert!(exit["cause"]["summary"].to_string().contains("F_SETSIG"), "{exit:#}");
}
