//! How a page looks, and what hostile names can do to it.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{PageClock, Report};
use crate::{
    diagnose::incident::{incidents, ownership::Ownership},
    model::{Event, Process, Socket, Time},
    sanitize::sanitize,
    store::verify,
};

fn event(seq: u64, second: u32, kind: &str, body: &Value) -> Event {
    let mut event = json!({
        "schema": 1, "seq": seq, "time": format!("2026-11-22T14:32:{second:02}.5Z"), "boot_id": "b",
        "host": "shop", "kind": kind,
    });
    event.as_object_mut().expect("an object").extend(body.as_object().expect("one").clone());
    serde_json::from_value(event).expect("an event")
}

fn report(events: &[Event]) -> Report {
    let written = "2026-11-22T15:00:00Z".parse().expect("a time");
    let mut report = Report::new(PageClock::new(TimeZone::UTC), written);
    let any = |_: &Socket, _: Option<&Process>, _: Time, _: Time| true;
    let mut ownership = Ownership::of(any);
    for event in events {
        report.hosts.insert(event.host.clone());
        report.push(event);
        ownership.push(event);
    }
    report.span = events.first().zip(events.last()).map(|(first, last)| (first.time, last.time));
    (report.served, report.outages) = ownership.finish(None);
    report.incidents = incidents(events);
    report.verified = Ok(verify::VerifyReport {
        sealed: 6,
        segments: 1,
        chain: "abc".into(),
        ..Default::default()
    });
    report
}

fn process(pid: u32, name: &str, unit: &str) -> Value {
    json!({
        "pid": pid, "start_time": "2026-11-22T11:00:00Z", "ppid": 1, "comm": name, "unit": unit,
        "args": [name, "main.js"], "user": "www-data", "cgroup": format!("/system.slice/{unit}"),
        "parent": {"pid": 1, "comm": "systemd"},
    })
}

fn tcp(port: u16) -> Value {
    json!({"protocol": "tcp", "address": "127.0.0.1", "port": port})
}

/// A small outage: a memory limit, an orphan that holds the port, and at last a new server.
fn small_outage(name: &str, unit: &str, path: &str) -> Vec<Event> {
    let worker = process(2211, name, unit);
    let orphan = process(1987, name, unit);
    let new = process(2290, name, unit);
    let session = json!({
        "version": "0.1.0", "kernel": "6.8.0-49-generic", "hooks": [],
        "clock": {"source": "CLOCK_BOOTTIME", "boot_time": "2026-11-01T00:00:00Z"},
    });
    let memory = json!({"total_vm_bytes": 1, "anon_rss_bytes": 512_000_000, "file_rss_bytes": 1,
        "shmem_rss_bytes": 0, "page_table_bytes": 1});
    let killed = json!({
        "type": "oom_kill", "summary": format!("killed by the kernel's OOM killer: {unit} reached its memory limit"),
        "evidence": ["the kernel chose victim 2211"], "confidence": "certain", "oom_seq": 4,
        "limit_cgroup": format!("/system.slice/{unit}"), "limit_bytes": 536_870_912_u64,
        "remedy": "raise the limit, or find what uses the memory",
    });
    let held = json!({"type": "held", "summary": format!("{name} 1987 serves it"), "evidence": [path],
        "confidence": "likely", "remedy": format!("end {name} 1987")});
    let lost = json!({"lost": {"exit": 3}, "from": "2026-11-22T14:32:40Z", "to": "2026-11-22T14:32:41Z",
        "reason": "the ring was full"});
    let socket = json!({"protocol": "unix", "path": path});
    vec![
        event(1, 0, "session", &session),
        event(2, 1, "listen", &json!({"process": worker, "socket": tcp(8080)})),
        event(3, 2, "listen", &json!({"process": orphan, "socket": socket, "initial": true})),
        event(
            4,
            15,
            "oom",
            &json!({"victim": worker, "trigger": new, "scope": "cgroup",
            "limit_cgroup": format!("/system.slice/{unit}"), "limit_bytes": 536_870_912_u64,
            "usage_bytes": 536_866_816_u64, "memory": memory, "oom_score_adj": 0, "summary": "at its limit"}),
        ),
        event(
            5,
            15,
            "exit",
            &json!({"process": worker, "cause": killed, "lifetime_seconds": 11_532.0,
            "status": {"signal": 9, "signal_name": "SIGKILL", "core_dumped": false, "shell_status": 137},
            "peak_rss_bytes": 522_190_848, "released": [tcp(8080)]}),
        ),
        event(
            6,
            16,
            "bind",
            &json!({"process": new, "call": "bind", "socket": tcp(8080), "cause": held,
            "error": {"errno": 98, "name": "EADDRINUSE"}, "holders": [{"process": orphan, "fd": 19,
                "socket": tcp(8080), "since": "2026-11-22T11:20:04Z", "relation": "orphan", "inherited": true}]}),
        ),
        event(7, 42, "loss", &lost),
        event(8, 46, "listen", &json!({"process": new, "socket": tcp(8080)})),
    ]
}

#[test]
fn a_small_page() {
    let page = report(&small_outage("node", "shop.service", "/run/shop.sock")).page();
    // The style changes with every taste.
    let (head, rest) = page.split_once("<style>").expect("a style");
    let (_, body) = rest.split_once("</style>").expect("its end");
    let policy = head.find("sha256-").expect("a policy");
    let head = format!("{}…{}", &head[..policy], &head[policy + 51..]);
    insta::assert_snapshot!(format!("{head}<style>…</style>{body}"));
}

/// The tags of a page, each without its brackets.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|rest| rest.split_once('>').expect("an end").0).collect()
}

#[test]
fn nothing_comes_from_outside_and_nothing_runs() {
    let url = "https://evil.example/x.js?src=";
    let page = report(&small_outage("http://evil/x", url, url)).page();
    for tag in tags(&page) {
        let lower = tag.to_lowercase();
        let name = lower.split([' ', '/']).find(|word| !word.is_empty()).expect("a name");
        for bad in
            ["script", "link", "img", "iframe", "object", "embed", "form", "base", "use", "image"]
        {
            assert_ne!(name, bad, "{tag}");
        }
        for bad in [" src=", " style=", " srcdoc=", " action=", " xlink"] {
            assert!(!lower.contains(bad), "{tag}");
        }
        if let Some((_, target)) = lower.split_once(" href=\"") {
            assert!(target.starts_with('#'), "{tag}");
        }
        let handler =
            lower.split('"').step_by(2).any(|outside| outside.trim_start().starts_with("on"));
        assert!(!handler, "{tag}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn hostile_names_stay_in_their_place() {
    let plain = report(&small_outage("node", "a.service", "/run/b")).page();
    for name in [
        "<script>alert(1)</script>",
        "</title></style><b>",
        "\" onload=\"x",
        "' onclick='x",
        "-->]]><!--",
        "&lt;b&amp;",
        "\u{202e}gpj\u{2066}",
        "a\nb\rc\td\u{1b}[2J\u{0}",
        "\u{fffd}\u{200b}\u{3164}\u{2028}",
    ] {
        let page = report(&small_outage(name, name, name)).page();
        let shape = |page: &str| -> Vec<String> {
            tags(page)
                .iter()
                .map(|tag| tag.split(' ').next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(shape(&page), shape(&plain), "{name:?}");
        let flat = page.replace('\n', "");
        assert_eq!(sanitize(&flat), flat, "{name:?}");
    }
}

#[test]
fn a_long_name_is_cut_and_many_rows_are_left_out() {
    let long = "x".repeat(100_000);
    let page = report(&small_outage(&long, &long, &long)).page();
    assert!(page.len() < 100_000, "{}", page.len());
    let exit = small_outage("node", "shop.service", "/run/b").swap_remove(4);
    let many: Vec<Event> = (1..=2500)
        .map(|seq| {
            let mut event = exit.clone();
            event.seq = Some(seq);
            event
        })
        .collect();
    let mut report = report(&many[..1]);
    many[1..].iter().for_each(|event| report.push(event));
    let page = report.page();
    assert_eq!(report.matched(), 2500 + report.incidents.len() as u64);
    assert!(
        page.contains("500 older events left out here: <code>observer log --kind exit --until"),
        "{page}"
    );
    assert!(page.len() < 4 << 20, "{}", page.len());
}

#[test]
fn failed_verification_comes_first() {
    let mut report = report(&small_outage("node", "shop.service", "/run/b"));
    let fault = verify::Fault {
        segment: "observer-000001".into(),
        record: Some(3),
        seq: Some(3),
        what: "it was changed".into(),
    };
    report.verified = Ok(verify::VerifyReport { faults: vec![fault], ..Default::default() });
    let page = report.page();
    let header = page.split("</header>").next().expect("a header");
    assert!(header.contains("VERIFICATION FAILED"), "{header}");
    assert!(header.contains("LOST: 3 events"), "{header}");
    assert!(page.contains("observer-000001, event 3 (seq 3): it was changed"));
}
