//! The scenario that observer exists for, as text.

use jiff::tz::TimeZone;
use serde_json::json;

use super::{
    super::incidents,
    build::{
        at, ended, event, holder, listen, node, oom, oom_killed, refused, release, session,
        stopped, tcp,
    },
};
use crate::{
    format::{style::Palette, text::TextFormat},
    model::{Body, Event, IncidentEvent},
};

const UNIT: &str = "nodejs-fpm.service";

/// As `observer why` shows it.
pub(super) fn text(incident: IncidentEvent) -> String {
    let mut shown = event(99, 0.0, "release", &json!({"socket": tcp(1)}));
    shown.time = incident.from;
    shown.body = Body::Incident(Box::new(incident));
    TextFormat::new(Palette::PLAIN, TimeZone::UTC).event(&shown)
}

/// An older instance is in the way when the new one dies of its limit.
fn scenario() -> Vec<Event> {
    let orphan = node(1987, 1, "");
    let worker = node(2211, 1, UNIT);
    let new = node(2290, 1, UNIT);
    vec![
        session(1, -12_000.0),
        oom(4, 0.0, &worker, "/system.slice/nodejs-fpm.service"),
        oom_killed(5, 0.01, &worker, 4, &[tcp(8080)]),
        release(6, 0.01, &worker, &tcp(8080)),
        refused(
            7,
            1.0,
            &new,
            &tcp(8080),
            &[holder(&orphan, &tcp(8080), Some(-10_800.0), "orphan")],
        ),
        ended(8, 1.1, &new, 1, &[]),
    ]
}

#[test]
fn an_older_instance_serves_every_address() {
    let supervisor = node(1954, 1, "");
    let old = node(1987, 1954, "");
    let mut orphan = old.clone();
    orphan["ppid"] = json!(1);
    let mut any = tcp(8080);
    any["address"] = json!("0.0.0.0");
    let mut scenario = scenario();
    scenario.push(listen(2, -10_800.0, &old, &any));
    scenario.push(stopped(3, -10_000.0, &supervisor, &[]));
    scenario[4] = refused(
        7,
        1.0,
        &node(2290, 1, UNIT),
        &tcp(8080),
        &[holder(&orphan, &any, Some(-10_800.0), "orphan")],
    );
    let incidents = incidents(&scenario);
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].outage_seconds, None);
    insta::assert_snapshot!(text(incidents[0].clone()));
}

#[test]
fn while_it_lasts() {
    let mut scenario = scenario();
    // Something else, half a minute later: the record goes on.
    scenario.push(listen(9, 31.01, &node(3000, 1, "mail.service"), &tcp(25)));
    let incidents = incidents(&scenario);
    assert_eq!(incidents.len(), 1);
    insta::assert_snapshot!(text(incidents[0].clone()));
}

#[test]
fn and_when_it_is_over() {
    let mut scenario = scenario();
    let new = node(2400, 1, UNIT);
    scenario.push(listen(9, 61.0, &new, &tcp(8080)));
    scenario.push(listen(10, 600.0, &node(3000, 1, "mail.service"), &tcp(25)));
    let incidents = incidents(&scenario);
    assert_eq!(incidents.len(), 1);
    assert!(!incidents[0].open);
    insta::assert_snapshot!(text(incidents[0].clone()));
}

#[test]
fn a_shared_socket_has_no_outage() {
    let wrapper = node(2100, 1, UNIT);
    let mut child = node(2101, 1, UNIT);
    child["parent"] = json!({"pid": 1, "comm": "systemd"});
    let holders = [holder(&child, &tcp(8080), Some(-60.0), "orphan")];
    let history = [
        listen(2, -60.0, &wrapper, &tcp(8080)),
        oom(3, 0.0, &wrapper, "/system.slice/nodejs-fpm.service"),
        oom_killed(4, 0.01, &wrapper, 3, &[]),
        refused(5, 1.0, &node(2290, 1, UNIT), &tcp(8080), &holders),
        refused(6, 3.0, &node(2291, 1, UNIT), &tcp(8080), &holders),
        refused(7, 5.0, &node(2292, 1, UNIT), &tcp(8080), &holders),
    ];
    let incidents = incidents(&history);
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].outage_seconds, None);
    assert_eq!(incidents[0].from, at(0.0));
    insta::assert_snapshot!(text(incidents[0].clone()));
}

/// Whoever holds what a dead server left is killed in turn, and the port is dark until the next start.
#[test]
fn a_helper_that_was_left_behind_ends_last() {
    let server = node(2211, 1, UNIT);
    let mut helper = node(2230, 1, UNIT);
    helper["comm"] = json!("sleep");
    let holders = [holder(&helper, &tcp(8080), Some(-60.0), "orphan")];
    let history = [
        listen(2, -60.0, &server, &tcp(8080)),
        oom(3, 0.0, &server, "/system.slice/nodejs-fpm.service"),
        oom_killed(4, 0.01, &server, 3, &[]),
        refused(5, 1.0, &node(2290, 1, UNIT), &tcp(8080), &holders),
        ended(6, 1.1, &node(2290, 1, UNIT), 1, &[]),
        release(7, 5.0, &helper, &tcp(8080)),
        stopped(8, 5.0, &helper, &[tcp(8080)]),
        listen(9, 7.0, &node(2300, 1, UNIT), &tcp(8080)),
    ];
    let incidents = incidents(&history);
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].outage_seconds, Some(2.0));
    insta::assert_snapshot!(text(incidents[0].clone()));
}
