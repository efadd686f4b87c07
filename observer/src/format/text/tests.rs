//! How each kind looks, and what hostile names can do to it.

mod flood;
mod incident;
mod readme;

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{COLUMNS, FEWEST, TextFormat};
use crate::{
    commands::schema,
    format::style::{Palette, Severity},
    model::Event,
};

fn event(kind: &str, body: &Value) -> Event {
    let mut event = json!({
        "schema": 2,
        "seq": 7,
        "time": "2026-11-22T14:32:15.123456789Z",
        "boot_id": "boot",
        "host": "shop",
        "kind": kind,
    });
    let body = body.as_object().expect("an object");
    event.as_object_mut().expect("an object").extend(body.clone());
    let event: Event = serde_json::from_value(event).expect("an event");
    assert_valid(&serde_json::to_value(&event).expect("JSON"));
    event
}

/// Holds every sample to the schema.
fn assert_valid(event: &Value) {
    static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let schema = schema::text().expect("a schema");
        let schema = serde_json::from_str(&schema).expect("JSON");
        jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12")
    });
    let faults: Vec<String> = SCHEMA.iter_errors(event).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}: {event:#}");
}

fn text(kind: &str, body: &Value) -> String {
    let text = TextFormat::new(Palette::PLAIN, TimeZone::UTC).event(&event(kind, body));
    for line in text.lines() {
        assert!(line.chars().count() <= COLUMNS, "too wide: {line}");
        assert_eq!(line, line.trim_end());
    }
    text
}

fn node() -> Value {
    json!({
        "pid": 2211,
        "start_time": "2026-11-22T11:20:03.000000000Z",
        "ppid": 1954,
        "uid": 33,
        "user": "www-data",
        "comm": "node",
        "exe": "/usr/bin/node",
        "args": ["node", "dist/main.js", "--title", "two words"],
        "cgroup": "/system.slice/shop.service",
        "unit": "shop.service",
        "parent": {"pid": 1954, "comm": "pm2"},
    })
}

/// The same outside any unit.
fn bare() -> Value {
    let mut process = node();
    process["unit"] = Value::Null;
    process["cgroup"] = json!("/panel/shop");
    process
}

fn systemd() -> Value {
    json!({"pid": 1, "comm": "systemd", "args": ["/sbin/init"], "ppid": 0})
}

fn killed(signal: u32, name: &str) -> Value {
    let shell = 128 + signal;
    json!({"signal": signal, "signal_name": name, "core_dumped": false, "shell_status": shell})
}

/// A cause whose summary says everything.
fn simple(cause_type: &str, summary: &str) -> Value {
    json!({"type": cause_type, "summary": summary, "evidence": [], "confidence": "certain"})
}

fn exit(process: &Value, status: &Value, cause: &Value) -> String {
    let body = json!({
        "process": process,
        "status": status,
        "lifetime_seconds": 11532.0,
        "peak_rss_bytes": 522_190_848,
        "cause": cause,
    });
    text("exit", &body)
}

#[test]
fn killed_after_it_did_not_stop() {
    let cause = json!({
        "type": "killed",
        "summary": "killed by SIGKILL from systemd 1, 1 min 30 s after SIGTERM, which it ignores",
        "evidence": ["SIGKILL was generated while systemd 1 ran", "SIGTERM from systemd 1, which it ignores, 1 min 30 s before"],
        "confidence": "certain",
        "sender": systemd(),
        "prompted_by": {"signal": 15, "signal_name": "SIGTERM", "sender": systemd(), "seconds": 90.1},
        "remedy": "TimeoutStopSec= of its unit sets how long systemd waits before SIGKILL",
    });
    insta::assert_snapshot!(exit(&node(), &killed(9, "SIGKILL"), &cause));
}

#[test]
fn killed_by_two() {
    let cause = json!({
        "type": "killed",
        "summary": "killed by SIGKILL from bash 77, 2.0 s after SIGTERM",
        "evidence": ["SIGKILL was generated while bash 77 ran", "SIGTERM from systemd 1, 2.0 s before"],
        "confidence": "certain",
        "sender": {"pid": 77, "comm": "bash", "args": ["bash", "deploy.sh"], "parent": {"pid": 70, "comm": "sshd"}},
        "prompted_by": {"signal": 15, "signal_name": "SIGTERM", "sender": systemd(), "seconds": 2.0},
    });
    insta::assert_snapshot!(exit(&bare(), &killed(9, "SIGKILL"), &cause));
}

#[test]
fn exit_codes() {
    let cause = json!({
        "type": "exit_code",
        "summary": "ended by itself with exit code 137",
        "evidence": ["137 is 128 + 9: its child node 2212 died of SIGKILL 12 ms before"],
        "confidence": "certain",
    });
    let status = json!({"code": 137, "shell_status": 137});
    insta::assert_snapshot!(exit(&node(), &status, &cause));
    let cause = json!({
        "type": "exit_code",
        "summary": "ended with exit code 0, 300 ms after SIGTERM from systemd 1",
        "evidence": ["wait status 0x0000", "SIGTERM from systemd 1, 300 ms before"],
        "confidence": "certain",
        "prompted_by": {"signal": 15, "signal_name": "SIGTERM", "sender": systemd(), "seconds": 0.3},
    });
    let status = json!({"code": 0, "shell_status": 0});
    insta::assert_snapshot!(exit(&bare(), &status, &cause));
}

#[test]
fn a_fault_and_its_core() {
    let cause = json!({
        "type": "fault",
        "summary": "dereferenced a null pointer: SIGSEGV, SEGV_MAPERR at 0x18",
        "evidence": ["the kernel sent SIGSEGV with SEGV_MAPERR for what the process itself did"],
        "confidence": "certain",
        "address": "0x18",
        "code_name": "SEGV_MAPERR",
    });
    let mut status = killed(11, "SIGSEGV");
    status["core_dumped"] = json!(true);
    insta::assert_snapshot!(exit(&node(), &status, &cause));
}

#[test]
fn not_certain() {
    let cause = json!({
        "type": "unknown",
        "summary": "killed by SIGKILL; its sender was not seen",
        "evidence": ["no SIGKILL to this process was seen: it was sent before observer started, or newer signals replaced the note of it"],
        "confidence": "possible",
    });
    insta::assert_snapshot!(exit(&node(), &killed(9, "SIGKILL"), &cause));
}

fn memory(own_bytes: u64, file_bytes: u64) -> Value {
    json!({
        "total_vm_bytes": 1_288_490_188,
        "anon_rss_bytes": own_bytes,
        "file_rss_bytes": file_bytes,
        "shmem_rss_bytes": 0,
        "page_table_bytes": 1_000_000,
    })
}

#[test]
fn the_oom_killer() {
    let body = json!({
        "victim": node(),
        "trigger": {"pid": 2290, "comm": "php-fpm8.3", "unit": "php8.3-fpm.service", "args": ["php-fpm: pool www"]},
        "scope": "cgroup",
        "limit_cgroup": "/panel.slice",
        "limit_bytes": 536_870_912,
        "usage_bytes": 536_866_816,
        "memory": memory(512_000_000, 9_000_000),
        "oom_score_adj": 200,
        "summary": "not shown",
    });
    insta::assert_snapshot!(text("oom", &body));
    let cause = json!({
        "type": "oom_kill",
        "summary": "killed by the kernel's OOM killer: /panel.slice reached its memory limit of 512 MiB",
        "evidence": ["the kernel chose victim 2211"],
        "confidence": "certain",
        "oom_seq": 6,
        "remedy": "raise the limit (`systemctl set-property panel.slice MemoryMax=…`) or find what uses the memory",
    });
    insta::assert_snapshot!(exit(&node(), &killed(9, "SIGKILL"), &cause));
}

#[test]
fn the_machine_is_out_of_memory() {
    let body = json!({
        "victim": bare(),
        "trigger": bare(),
        "scope": "system",
        "limit_bytes": 2_147_483_648_u64,
        "memory": memory(512_000_000, 1),
        "oom_score_adj": 0,
        "summary": "not shown",
    });
    insta::assert_snapshot!(text("oom", &body));
}

#[test]
fn a_container_is_named_by_its_short_id() {
    let mut process = node();
    let id = "0123456789abcdef".repeat(4);
    process["unit"] = json!(format!("docker-{id}.scope"));
    process["cgroup"] = json!(format!("/system.slice/docker-{id}.scope"));
    process["container"] = json!("0123456789ab");
    process["ns_pid"] = json!(1);
    let cause = simple("abort", "aborted itself (SIGABRT)");
    insta::assert_snapshot!(exit(&process, &killed(6, "SIGABRT"), &cause));
}

#[test]
fn what_is_not_known_is_not_shown() {
    let cause = simple("exit_code", "ended by itself with exit code 1");
    let body = json!({
        "process": {"pid": 5},
        "status": {"code": 1, "shell_status": 1},
        "lifetime_seconds": 0.000_2,
        "cause": cause,
    });
    insta::assert_snapshot!(text("exit", &body));
}

#[test]
fn a_refused_bind() {
    let body = json!({
        "process": {"pid": 2290, "comm": "node", "unit": "shop.service", "args": ["node", "dist/main.js"]},
        "call": "bind",
        "socket": {"protocol": "tcp", "address": "127.0.0.1", "port": 8080, "state": "unbound"},
        "error": {"errno": 98, "name": "EADDRINUSE"},
        "holders": [{
            "process": {"pid": 1987, "comm": "node", "args": ["node", "old/main.js"], "start_time": "2026-11-22T11:20:03Z"},
            "fd": 19,
            "socket": {"protocol": "tcp", "address": "127.0.0.1", "port": 8080, "state": "listen"},
            "since": "2026-11-22T11:20:04Z",
            "relation": "orphan",
            "inherited": true,
        }],
        "cause": {
            "type": "held",
            "summary": "node 1987 serves it",
            "evidence": [],
            "confidence": "certain",
            "remedy": "end node 1987, which its dead parent left behind",
        },
    });
    insta::assert_snapshot!(text("bind", &body));
}

#[test]
fn holders_that_are_not_named_are_counted() {
    let socket = json!({"protocol": "tcp", "address": "127.0.0.1", "port": 8080});
    let holder = json!({"process": node(), "socket": socket, "relation": "stranger"});
    let cause = json!({"type": "held", "summary": "node 1 serves it, and 40 more", "evidence": [], "confidence": "certain"});
    let body = json!({
        "process": node(), "call": "bind", "socket": socket, "error": {"errno": 98, "name": "EADDRINUSE"},
        "holders": vec![holder; 16], "holders_total": 41, "cause": cause,
    });
    assert!(text("bind", &body).contains("and 25 more holders"), "{}", text("bind", &body));
}

#[test]
fn a_server_comes_and_goes() {
    let socket = json!({"protocol": "tcp", "address": "::", "port": 443});
    let listen = json!({"process": node(), "socket": socket, "backlog": 511, "initial": true});
    insta::assert_snapshot!(text("listen", &listen));
    let release = json!({"process": node(), "socket": socket, "served_seconds": 250.0});
    insta::assert_snapshot!(text("release", &release));
}

#[test]
fn the_beginning_and_losses() {
    let hook = |attached| json!({"program": "exit", "hook": "tp_btf/sched_process_exit", "attached": attached});
    let body = json!({
        "version": "0.1.0",
        "kernel": "6.8.0-49-generic",
        "hooks": [hook(true), hook(true), hook(false)],
        "clock": {"source": "CLOCK_BOOTTIME", "boot_time": "2026-11-01T00:00:00Z"},
    });
    insta::assert_snapshot!(text("session", &body));
    let body = json!({
        "lost": {"exit": 1200},
        "from": "2026-11-22T14:32:14Z",
        "to": "2026-11-22T14:32:15Z",
        "reason": "the ring was full: they came faster than they could be written out",
    });
    insta::assert_snapshot!(text("loss", &body));
}

#[test]
fn hostile_names_stay_in_their_place() {
    let mut process = bare();
    process["comm"] = json!("a\u{1b}[2J\nb");
    process["args"] = json!(["\u{202e}gpj.exe", "x\ny\t", "", "it's", "wide\u{200b}\u{3164}"]);
    process["cgroup"] = json!("/a\u{9b}31m/\u{2066}b");
    process["user"] = json!("eve\r");
    process["parent"] = json!({"pid": 1, "comm": "\u{7}"});
    let cause = json!({
        "type": "killed",
        "summary": "killed by SIGKILL from \u{1b}]0;x\u{7} 3",
        "evidence": ["line\nbreak"],
        "confidence": "certain",
    });
    let text = exit(&process, &killed(9, "SIGKILL"), &cause);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_name_without_spaces_is_broken_and_a_long_command_cut() {
    let mut process = bare();
    process["cgroup"] = json!(format!("/{}", "c".repeat(180)));
    process["args"] = json!(["x".repeat(90), "y".repeat(500)]);
    let cause = simple("exit_code", "ended by itself with exit code 1");
    let status = json!({"code": 1, "shell_status": 1});
    insta::assert_snapshot!(exit(&process, &status, &cause));
}

#[test]
fn a_narrow_terminal_folds_more() {
    let mut format = TextFormat::new(Palette::PLAIN, TimeZone::UTC);
    format.columns = FEWEST;
    let cause = simple("killed", "killed by SIGKILL from bash 77");
    let status = killed(9, "SIGKILL");
    let body =
        json!({"process": node(), "status": status, "lifetime_seconds": 1.0, "cause": cause});
    let text = format.event(&event("exit", &body));
    assert!(text.lines().all(|line| line.chars().count() <= FEWEST), "{text}");
    // What is no terminal has no width.
    let file = std::fs::File::open("/dev/null").expect("/dev/null");
    assert_eq!(format.within(file).columns, FEWEST);
}

#[test]
fn colours_by_severity() {
    let colour = |severity| Palette::COLOUR.severity(severity, "x");
    assert_eq!(colour(Severity::Ordinary), "x");
    assert!(colour(Severity::Notable).starts_with("\u{1b}["));
    assert_ne!(colour(Severity::Notable), colour(Severity::Bad));
    let format = TextFormat::new(Palette::COLOUR, TimeZone::UTC);
    let body = json!({
        "process": {"pid": 5, "comm": "a\u{1b}[31m"},
        "status": {"code": 1, "shell_status": 1},
        "lifetime_seconds": 1.0,
        "cause": simple("exit_code", "ended"),
    });
    let text = format.event(&event("exit", &body));
    assert!(text.contains("a\\x1b[31m 5"), "{text:?}");
    // Every colour that begins ends before its line does.
    assert!(
        text.lines()
            .all(|line| line.matches("\u{1b}[0m").count() * 2 == line.matches("\u{1b}[").count())
    );
}
