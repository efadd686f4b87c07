//! Each rule, by the smallest history that shows it.

use serde_json::json;

use super::{
    super::{Incidents, incidents, served},
    build::{
        at, crash, ended, ephemeral, event, exit, holder, listen, loss, named, node, oom,
        oom_killed, refused, release, session, stopped, tcp,
    },
};
use crate::model::{Body, Event, IncidentEvent};

const UNIT: &str = "shop.service";

/// Something unrelated, so that time goes on.
fn later(seconds: f64) -> Event {
    listen(900, seconds, &node(900, 1, "other.service"), &tcp(9))
}

fn one(history: &[Event]) -> IncidentEvent {
    let mut emitted = incidents(history);
    assert_eq!(emitted.len(), 1, "{emitted:#?}");
    emitted.swap_remove(0)
}

fn says(incident: &IncidentEvent, words: &str) -> bool {
    incident.sentences.iter().any(|sentence| sentence.text.contains(words))
}

fn admits(incident: &IncidentEvent, words: &str) -> bool {
    incident.unknown.iter().any(|unknown| unknown.contains(words))
}

#[test]
fn what_opens_no_incident() {
    let web = node(300, 1, UNIT);
    let script = named("grep", 301, 77, "");
    for history in [
        vec![],
        vec![ended(1, 0.0, &web, 0, &[])],
        vec![stopped(1, 0.0, &web, &[])],
        vec![ended(1, 0.0, &script, 1, &[])],
        vec![refused(1, 0.0, &web, &tcp(80), &[])],
        // Stopped, and another one took over within a moment.
        vec![
            listen(1, -9.0, &web, &tcp(80)),
            stopped(2, 0.0, &web, &[tcp(80)]),
            listen(3, 4.0, &node(400, 1, UNIT), &tcp(80)),
            later(60.0),
        ],
        vec![release(1, 0.0, &web, &ephemeral(40_000)), later(60.0)],
    ] {
        assert!(incidents(&history).is_empty(), "{history:#?}");
    }
}

#[test]
fn a_stop_without_a_new_server() {
    let web = node(300, 1, UNIT);
    let history = [stopped(2, 0.0, &web, &[tcp(80)]), release(3, 0.0, &web, &tcp(80)), later(60.0)];
    let incident = one(&history);
    assert_eq!((incident.subject.as_str(), incident.open), ("tcp:80", true));
    assert_eq!(incident.outage_seconds, Some(60.0));
    assert!(says(&incident, "was killed by SIGTERM (exit 143) from systemd 1"));
    assert!(says(&incident, "nobody has served tcp 127.0.0.1:80 since, 1 min so far"));
    assert_eq!(incident.events, [2, 3]);
}

#[test]
fn a_chosen_high_port_has_an_outage_too() {
    let web = node(300, 1, "");
    let incident = one(&[release(1, 0.0, &web, &tcp(41_303)), later(60.0)]);
    assert_eq!((incident.subject.as_str(), incident.outage_seconds), ("tcp:41303", Some(60.0)));
}

/// Process ids come round again: a parent of that number which began after the child had died is a stranger.
#[test]
fn reused_parent_pid_is_a_stranger() {
    let cause = super::build::cause("killed", "killed by SIGKILL from bash 77");
    let child = node(400, 300, "");
    let mut stranger = node(300, 20, "");
    let at_once = [exit(1, 0.0, &child, -9, &cause, &[]), exit(2, 5.0, &stranger, -9, &cause, &[])];
    assert_eq!(incidents(&at_once).len(), 1);
    stranger["start_time"] = json!(at(3.0));
    let later = [exit(1, 0.0, &child, -9, &cause, &[]), exit(2, 5.0, &stranger, -9, &cause, &[])];
    assert_eq!(incidents(&later).len(), 2);
}

#[test]
fn asked_for_in_each_way() {
    let web = node(300, 1, UNIT);
    let prompt = json!({"signal": 15, "signal_name": "SIGTERM", "seconds": 90.0});
    let mut cause = super::build::cause("killed", "killed by SIGKILL from bash 77");
    let abrupt = exit(1, 0.0, &web, -9, &cause, &[]);
    assert_eq!(incidents(&[abrupt]).len(), 1);
    cause["prompted_by"] = prompt;
    let patient = exit(1, 0.0, &web, -9, &cause, &[]);
    assert!(incidents(&[patient]).is_empty());
}

#[test]
fn an_oom_kill_and_its_death_are_one() {
    let web = node(300, 1, UNIT);
    let incident = one(&[oom(1, 0.0, &web, "/x"), oom_killed(2, 0.1, &web, 1, &[])]);
    assert_eq!(incident.events, [1, 2]);
    assert_eq!(incident.subject, UNIT);
    assert!(admits(&incident, "whether what died served a port or a socket"));
    let incident = one(&[oom(1, 0.0, &web, "/x")]);
    assert!(admits(&incident, "how node 300 ended"));
    let incident = one(&[oom(1, 0.0, &web, "/panel.slice")]);
    assert_eq!(incident.units, ["panel.slice", UNIT]);
}

#[test]
fn strangers_stay_apart() {
    let history = [
        crash(1, 0.0, &node(300, 1, UNIT), &[]),
        crash(2, 1.0, &node(301, 1, "mail.service"), &[]),
        // The same unit, but long after.
        crash(3, 500.0, &node(302, 1, UNIT), &[]),
    ];
    assert_eq!(incidents(&history).len(), 3);
}

#[test]
fn parent_and_child_die_together() {
    let parent = named("npm", 300, 50, "");
    let child = named("node", 301, 300, "");
    let incident = one(&[crash(1, 0.0, &child, &[]), ended(2, 0.1, &parent, 139, &[])]);
    assert_eq!(incident.events, [1, 2]);
    assert_eq!(incident.pids, [300, 301]);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut again = node(300, 1, "mail.service");
    again["start_time"] = json!(at(0.5));
    let history = [crash(1, 0.0, &node(300, 1, UNIT), &[]), crash(2, 1.0, &again, &[])];
    assert_eq!(incidents(&history).len(), 2);
}

#[test]
fn another_address_does_not_end_an_outage() {
    let web = node(300, 1, UNIT);
    let mut other = tcp(80);
    other["address"] = json!("127.0.0.2");
    let mut any = tcp(80);
    any["address"] = json!("0.0.0.0");
    let mut history = vec![
        crash(1, 0.0, &web, &[tcp(80)]),
        listen(2, 5.0, &node(301, 1, UNIT), &other),
        later(10.0),
    ];
    assert_eq!(one(&history).outage_seconds, Some(10.0));
    history.push(listen(3, 8.0, &node(302, 1, UNIT), &any));
    let incident = one(&history);
    assert_eq!(incident.outage_seconds, Some(8.0));
    assert!(says(&incident, "node 302 (shop.service) serves tcp 0.0.0.0:80 again, after 8.0 s"));
}

#[test]
fn a_sibling_that_still_serves_is_no_outage() {
    let (a, b) = (node(300, 1, UNIT), node(301, 1, UNIT));
    let history = [
        listen(1, -9.0, &a, &tcp(80)),
        listen(2, -8.0, &b, &tcp(80)),
        crash(3, 0.0, &a, &[tcp(80)]),
        release(4, 0.0, &a, &tcp(80)),
        later(60.0),
    ];
    let incident = one(&history);
    assert_eq!(incident.outage_seconds, None);
    assert!(says(
        &incident,
        "tcp 127.0.0.1:80 was released, and node 301 (shop.service) still has"
    ));
}

#[test]
fn a_server_of_both_families_has_two_outages() {
    let web = node(300, 1, UNIT);
    let both = ["0.0.0.0", "::"].map(|address| {
        let mut socket = tcp(80);
        socket["address"] = json!(address);
        socket
    });
    let history = [
        listen(1, -9.0, &web, &both[0]),
        listen(2, -9.0, &web, &both[1]),
        crash(3, 0.0, &web, &both),
        release(4, 0.0, &web, &both[0]),
        release(5, 0.0, &web, &both[1]),
        later(31.0),
    ];
    let incident = one(&history);
    assert_eq!(incident.outage_seconds, Some(31.0));
    assert!(
        says(&incident, "nobody serves tcp 0.0.0.0:80")
            && says(&incident, "nobody serves tcp [::]:80")
    );
    assert!(!says(&incident, "still has"), "{incident:#?}");
}

#[test]
fn an_outage_ends_hours_later() {
    let mut history = vec![crash(1, 0.0, &node(300, 1, UNIT), &[tcp(80)]), later(7000.0)];
    assert!(one(&history).open);
    history.push(listen(2, 7200.0, &node(301, 1, UNIT), &tcp(80)));
    history.push(later(7400.0));
    let incident = one(&history);
    assert_eq!((incident.open, incident.outage_seconds), (false, Some(7200.0)));
}

#[test]
fn a_restart_loop_and_its_end() {
    let mut history = Vec::new();
    for n in 0..5_u32 {
        let seconds = f64::from(n) * 3.0;
        let worker = node(300 + n, 50, "");
        history.push(ended(u64::from(n) + 1, seconds, &worker, 1, &[]));
    }
    let incident = one(&history);
    assert!(says(&incident, "node died 5 times in 12 s"), "{incident:#?}");
    assert!(admits(&incident, "whether node started again"));
    // Two are no loop, and a script that calls the same program is none either.
    assert!(incidents(&history[..2]).is_empty());
    let script: Vec<Event> = (0..9_u32)
        .map(|n| {
            let mut grep = named("grep", 300 + n, 50, "");
            grep["parent"] = json!({"pid": 50, "comm": "bash"});
            ended(u64::from(n) + 1, f64::from(n), &grep, 1, &[])
        })
        .collect();
    assert!(incidents(&script).is_empty());
}

#[test]
fn given_up_is_said_as_likely() {
    let old = node(200, 1, "");
    let mut history = Vec::new();
    for n in 0..4_u32 {
        let (seq, seconds) = (u64::from(n) * 2 + 1, f64::from(n) * 2.0);
        let worker = node(300 + n, 1, UNIT);
        history.push(refused(
            seq,
            seconds,
            &worker,
            &tcp(80),
            &[holder(&old, &tcp(80), None, "stranger")],
        ));
        history.push(ended(seq + 1, seconds + 0.5, &worker, 1, &[]));
    }
    history.push(later(12.0));
    assert!(!says(&one(&history), "given up"));
    history.push(later(60.0));
    let incident = one(&history);
    assert!(says(&incident, "node has likely been given up"), "{incident:#?}");
    assert!(says(&incident, "the kernel refused node 3 times more"));
    assert!(
        incident.summary.contains("node of shop.service died 4 times in 6.0 s"),
        "{}",
        incident.summary
    );
}

#[test]
fn a_dead_server_whose_child_holds_the_socket() {
    let (wrapper, child) = (node(300, 1, UNIT), node(301, 300, UNIT));
    let history = [listen(1, -9.0, &wrapper, &tcp(80)), crash(2, 0.0, &wrapper, &[]), later(60.0)];
    let incident = one(&history);
    assert!(says(&incident, "is still held although node 300, which opened it, is dead"));
    assert_eq!((incident.subject.as_str(), incident.outage_seconds), ("tcp:80", None));
    // Until the child lets go of it.
    let mut history = history.to_vec();
    history.push(release(3, 30.0, &child, &tcp(80)));
    let incident = one(&history);
    assert!(!says(&incident, "still held"), "{incident:#?}");
    assert_eq!(incident.outage_seconds, Some(30.0));
}

#[test]
fn a_refusal_without_a_holder_explains_the_death_that_follows() {
    let web = named("web", 300, 50, "");
    let incident = one(&[refused(1, 0.0, &web, &tcp(80), &[]), ended(2, 0.1, &web, 1, &[])]);
    assert_eq!(incident.events, [1, 2]);
    assert!(says(&incident, "could not bind tcp 127.0.0.1:80 (EACCES): ports below 1024"));
}

#[test]
fn a_listener_during_an_outage_may_answer() {
    let old = node(200, 1, "");
    let holders = [holder(&old, &tcp(80), Some(-99.0), "stranger")];
    let history = [
        crash(1, 0.0, &node(300, 1, UNIT), &[tcp(80)]),
        refused(2, 1.0, &node(301, 1, UNIT), &tcp(80), &holders),
    ];
    assert!(admits(
        &one(&history),
        "whether node 200, which still holds tcp 127.0.0.1:80, answers"
    ));
    assert!(!admits(&one(&history[1..]), "answers"));
}

#[test]
fn losses_are_admitted() {
    let web = node(300, 1, UNIT);
    for when in [-1.0, 1.0] {
        let incident = one(&[loss(1, when, 3), crash(2, 0.0, &web, &[])]);
        assert!(admits(&incident, "3 records (exit)"), "{incident:#?}");
    }
    let incident = one(&[loss(1, -1.0, 3), crash(2, 0.0, &web, &[]), loss(4, 1.0, 2)]);
    assert!(admits(&incident, "5 records (exit) that were lost at that time (#1 to #4)"));
    let incident = one(&[loss(1, -500.0, 3), crash(2, 0.0, &web, &[])]);
    assert!(!admits(&incident, "records"));
}

#[test]
fn a_restart_of_the_observer_hides_the_end_of_an_outage() {
    let new = node(301, 1, UNIT);
    let mut initial = json!({"process": new, "socket": tcp(80), "initial": true});
    initial["backlog"] = json!(5);
    let history = [
        session(1, -100.0),
        crash(2, 0.0, &node(300, 1, UNIT), &[tcp(80)]),
        session(1, 20.0),
        event(2, 20.1, "listen", &initial),
    ];
    let mut resumed = history.clone();
    if let Body::Session(session) = &mut resumed[2].body {
        session.resumed = true;
    }
    assert!(!admits(&one(&resumed), "while observer was not running"));
    let incident = one(&history);
    assert_eq!(incident.outage_seconds, None);
    assert!(says(&incident, "since when is not known"));
    assert!(admits(&incident, "while observer was not running"));
}

#[test]
fn boots_stay_apart() {
    let mut other = crash(2, 1.0, &node(300, 1, UNIT), &[tcp(80)]);
    other.boot_id = "another".into();
    let history = [crash(1, 0.0, &node(300, 1, UNIT), &[tcp(80)]), other];
    assert_eq!(incidents(&history).len(), 2);
    let mut live = Incidents::default();
    assert!(live.push(&history[0]).is_empty());
    assert_eq!(live.push(&history[1]).len(), 1);
    assert_eq!(live.finish().len(), 1);
}

#[test]
fn a_live_incident_is_emitted_as_it_grows() {
    let mut live = Incidents::default();
    assert!(live.push(&crash(1, 0.0, &node(300, 1, UNIT), &[tcp(80)])).is_empty());
    let emitted = live.tick(at(3.0));
    assert_eq!(emitted.len(), 1);
    assert!(emitted[0].open);
    assert!(live.tick(at(30.0)).is_empty(), "a span that grows is no news");
    live.push(&listen(2, 31.0, &node(301, 1, UNIT), &tcp(80)));
    let emitted = live.tick(at(40.0));
    assert_eq!((emitted.len(), emitted[0].outage_seconds), (1, Some(31.0)));
    let deadline = live.deadline().expect("a deadline");
    assert!(deadline > at(31.0 + 120.0));
    let emitted = live.tick(deadline);
    assert_eq!((emitted.len(), emitted[0].open), (1, false));
    assert_eq!(live.deadline(), None);
}

#[test]
fn who_serves_now() {
    let (a, b) = (node(300, 1, UNIT), node(301, 1, UNIT));
    let history = [
        listen(1, 0.0, &a, &tcp(80)),
        listen(2, 1.0, &b, &tcp(81)),
        release(3, 2.0, &a, &tcp(80)),
        listen(4, 3.0, &b, &tcp(80)),
    ];
    let now: Vec<u64> = served(&history).iter().map(|event| event.number()).collect();
    assert_eq!(now, [2, 4]);
}
