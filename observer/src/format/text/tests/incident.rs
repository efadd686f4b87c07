//! An incident, and hostile names in it.

use serde_json::{Value, json};

use super::text;

fn incident(name: &str) -> Value {
    json!({
        "subject": "tcp:8080",
        "summary": format!("tcp 127.0.0.1:8080 has been dark for 31 s: {name} 2211 (shop.service) aborted itself"),
        "from": "2026-11-22T14:32:15Z",
        "to": "2026-11-22T14:32:16.5Z",
        "open": true,
        "outage_seconds": 31.0,
        "events": [5, 6, 9],
        "sentences": [
            {"text": format!("{name} 2211 aborted itself"), "time": "2026-11-22T14:32:15Z", "events": [5, 6]},
            {"text": "nobody has served it since", "time": "2026-11-22T14:32:16.5Z", "events": [9]},
        ],
        "unknown": [format!("whether {name} 1987 answers")],
        "sockets": [{"protocol": "tcp", "address": "127.0.0.1", "port": 8080}],
        "units": ["shop.service"],
        "pids": [1987, 2211],
    })
}

#[test]
fn an_incident_with_its_evidence() {
    insta::assert_snapshot!(text("incident", &incident("node")));
}

#[test]
fn hostile_names_in_an_incident() {
    let text = text("incident", &incident("a\u{1b}[2J\nb\u{202e}c\u{200b}"));
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    assert!(text.contains("a\\x1b[2J\\nb\\u{202e}c\\u{200b} 2211"), "{text}");
    let subject = super::text("incident", &{
        let mut incident = incident("node");
        incident["subject"] = json!("/run/\u{9b}x\n.sock");
        incident
    });
    assert!(subject.contains("/run/\\u{9b}x\\n.sock"), "{subject}");
}
