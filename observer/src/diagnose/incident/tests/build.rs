//! Short words for events.

use serde_json::{Value, json};

use crate::model::{Event, Time};

/// The moment that all times are counted from.
pub(super) const START: &str = "2026-11-22T14:32:15Z";

/// So many seconds after [`START`].
pub(super) fn at(seconds: f64) -> Time {
    let start: jiff::Timestamp = START.parse().expect("a time");
    let span = jiff::SignedDuration::try_from_secs_f64(seconds).expect("a span");
    Time(start.checked_add(span).expect("a time"))
}

/// A process named node; `unit` may be empty.
pub(super) fn node(pid: u32, ppid: u32, unit: &str) -> Value {
    named("node", pid, ppid, unit)
}

/// A process that was started as many seconds before [`START`] as the distance of its pid to 10000.
pub(super) fn named(comm: &str, pid: u32, ppid: u32, unit: &str) -> Value {
    let mut process = json!({
        "pid": pid,
        "start_time": at(f64::from(pid) - 10_000.0),
        "ppid": ppid,
        "comm": comm,
        "exe": format!("/usr/bin/{comm}"),
        "args": [comm, "main.js"],
        "parent": {"pid": ppid, "comm": if ppid == 1 { "systemd" } else { "pm2" }},
    });
    if !unit.is_empty() {
        process["unit"] = json!(unit);
    }
    process
}

/// `127.0.0.1:PORT` over TCP.
/// One that the kernel dealt out.
pub(super) fn ephemeral(port: u16) -> Value {
    json!({"protocol": "tcp", "address": "127.0.0.1", "port": port, "ephemeral": true, "netns": 1})
}

pub(super) fn tcp(port: u16) -> Value {
    json!({"protocol": "tcp", "address": "127.0.0.1", "port": port, "netns": 1})
}

/// A cause.
pub(super) fn cause(kind: &str, summary: &str) -> Value {
    json!({"type": kind, "summary": summary, "evidence": [], "confidence": "certain"})
}

/// An event of a history.
pub(super) fn event(seq: u64, seconds: f64, kind: &str, body: &Value) -> Event {
    let mut event = json!({
        "schema": 1, "seq": seq, "time": at(seconds), "boot_id": "boot", "host": "shop", "kind": kind,
    });
    let body = body.as_object().expect("an object").clone();
    event.as_object_mut().expect("an object").extend(body);
    serde_json::from_value(event).expect("an event")
}

/// A death; `status` is a code, or a signal below zero.
pub(super) fn exit(
    seq: u64,
    seconds: f64,
    process: &Value,
    status: i32,
    cause: &Value,
    released: &[Value],
) -> Event {
    let number = status.unsigned_abs();
    let status = if status < 0 {
        json!({"signal": number, "signal_name": crate::model::signal_name(number), "core_dumped": false, "shell_status": 128 + number})
    } else {
        json!({"code": number, "shell_status": number})
    };
    let body = json!({
        "process": process, "status": status, "lifetime_seconds": 1.0, "cause": cause,
        "released": released,
    });
    event(seq, seconds, "exit", &body)
}

/// A death by a fault.
pub(super) fn crash(seq: u64, seconds: f64, process: &Value, released: &[Value]) -> Event {
    let cause = cause("fault", "dereferenced a null pointer: SIGSEGV, SEGV_MAPERR at 0x0");
    exit(seq, seconds, process, -11, &cause, released)
}

/// An end with a code.
pub(super) fn ended(
    seq: u64,
    seconds: f64,
    process: &Value,
    code: i32,
    released: &[Value],
) -> Event {
    let cause = cause("exit_code", &format!("ended by itself with exit code {code}"));
    exit(seq, seconds, process, code, &cause, released)
}

/// A death that systemd asked for.
pub(super) fn stopped(seq: u64, seconds: f64, process: &Value, released: &[Value]) -> Event {
    let mut cause = cause("killed", "killed by SIGTERM from systemd 1");
    cause["sender"] = json!({"pid": 1, "comm": "systemd"});
    exit(seq, seconds, process, -15, &cause, released)
}

/// The OOM killer's choice.
pub(super) fn oom(seq: u64, seconds: f64, victim: &Value, cgroup: &str) -> Event {
    let body = json!({
        "victim": victim, "trigger": victim, "scope": "cgroup", "limit_cgroup": cgroup,
        "limit_bytes": 536_870_912, "usage_bytes": 536_870_912, "oom_score_adj": 0,
        "memory": {"total_vm_bytes": 0, "anon_rss_bytes": 0, "file_rss_bytes": 0, "shmem_rss_bytes": 0,
            "page_table_bytes": 0},
        "summary": format!("a process was chosen by the OOM killer: {cgroup} reached its memory limit of 512 MiB"),
    });
    event(seq, seconds, "oom", &body)
}

/// A death by the OOM killer.
pub(super) fn oom_killed(
    seq: u64,
    seconds: f64,
    process: &Value,
    oom: u64,
    released: &[Value],
) -> Event {
    let summary =
        "killed by the kernel's OOM killer: shop.service reached its memory limit of 512 MiB";
    let mut cause = cause("oom_kill", summary);
    cause["oom_seq"] = json!(oom);
    exit(seq, seconds, process, -9, &cause, released)
}

/// A holder of a socket.
pub(super) fn holder(process: &Value, socket: &Value, since: Option<f64>, relation: &str) -> Value {
    let mut socket = socket.clone();
    socket["state"] = json!("listen");
    let mut holder = json!({"process": process, "fd": 19, "socket": socket, "relation": relation});
    if let Some(since) = since {
        holder["since"] = json!(at(since));
    }
    holder
}

/// A refused bind.
pub(super) fn refused(
    seq: u64,
    seconds: f64,
    process: &Value,
    socket: &Value,
    holders: &[Value],
) -> Event {
    let error = match holders {
        [] => json!({"errno": 13, "name": "EACCES"}),
        _ => json!({"errno": 98, "name": "EADDRINUSE"}),
    };
    let cause = match holders {
        [] => cause("permission", "ports below 1024 need CAP_NET_BIND_SERVICE"),
        _ => cause("held", "somebody serves it"),
    };
    let body = json!({
        "process": process, "call": "bind", "socket": socket, "holders": holders, "cause": cause,
        "error": error,
    });
    event(seq, seconds, "bind", &body)
}

/// Somebody serves.
pub(super) fn listen(seq: u64, seconds: f64, process: &Value, socket: &Value) -> Event {
    event(seq, seconds, "listen", &json!({"process": process, "socket": socket, "backlog": 511}))
}

/// Nobody serves any more.
pub(super) fn release(seq: u64, seconds: f64, process: &Value, socket: &Value) -> Event {
    event(seq, seconds, "release", &json!({"process": process, "socket": socket}))
}

/// Lost records.
pub(super) fn loss(seq: u64, seconds: f64, count: u64) -> Event {
    let body = json!({
        "lost": {"exit": count}, "from": at(seconds - 1.0), "to": at(seconds), "reason": "the ring was full",
    });
    event(seq, seconds, "loss", &body)
}

/// A run begins.
pub(super) fn session(seq: u64, seconds: f64) -> Event {
    let clock = json!({"source": "CLOCK_BOOTTIME", "boot_time": at(-20_000.0)});
    let body = json!({"version": "0.1.0", "kernel": "6.8.0", "hooks": [], "clock": clock});
    event(seq, seconds, "session", &body)
}
