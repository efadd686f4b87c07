//! Times in which somebody served, and those in which nobody did.

use serde_json::{Value, json};

use super::{
    super::ownership::{End, Ownership},
    build::{at, ephemeral, event, listen, node, release, tcp},
};
use crate::model::{Event, Time};

fn spans(events: &[Event]) -> String {
    let mut ownership = Ownership::of(|_: &_, _: Option<&_>, _, _| true);
    for event in events {
        ownership.push(event);
    }
    let (served, outages) = ownership.finish(None);
    let start = at(0.0);
    let second = |time: Time| time.0.duration_since(start.0).as_secs();
    let end = |end| match end {
        End::Open => "still",
        End::Seen => "seen",
        End::Unwatched => "unwatched",
    };
    let mut lines = Vec::new();
    for s in served.iter() {
        let last = s.last.as_ref().map(|last| format!(" by {}", last.pid)).unwrap_or_default();
        let (from, to) = (second(s.from), second(s.to));
        let gaps = if s.gaps > 0 { " over a gap" } else { "" };
        lines.push(format!("{} {from}-{to} {}{last}{gaps}", s.process.pid, end(s.end)));
    }
    for d in outages.iter() {
        lines.push(format!("nobody {}-{} {}", second(d.from), second(d.to), end(d.end)));
    }
    lines.join("; ")
}

fn initial(seq: u64, seconds: f64, process: &Value, port: u16) -> Event {
    let body = json!({"process": process, "socket": tcp(port), "initial": true});
    event(seq, seconds, "listen", &body)
}

fn session(seq: u64, seconds: f64, after: &Value) -> Event {
    let body = json!({
        "version": "0.1.0", "kernel": "6.8", "hooks": [], "after": after,
        "clock": {"source": "CLOCK_BOOTTIME", "boot_time": at(-20_000.0)},
    });
    event(seq, seconds, "session", &body)
}

#[test]
fn one_after_the_other_in_any_order() {
    let (a, b) = (node(10, 1, "shop.service"), node(11, 1, "shop.service"));
    let events = [
        listen(1, 0.0, &a, &tcp(80)),
        listen(3, 9.5, &b, &tcp(80)),
        release(2, 9.0, &a, &tcp(80)),
        release(4, 20.0, &b, &tcp(80)),
        listen(5, 40.0, &a, &tcp(81)),
    ];
    let outages = "nobody 9-9 seen; nobody 20-40 still";
    assert_eq!(spans(&events), format!("10 0-9 seen; 11 9-20 seen; 10 40-40 still; {outages}"));
}

#[test]
fn an_inheritor_holds_it_to_the_end() {
    let (a, heir) = (node(10, 1, ""), node(12, 10, ""));
    let events = [
        listen(1, 0.0, &a, &tcp(80)),
        release(2, 9.0, &heir, &tcp(80)),
        // Told again by the death.
        release(3, 9.5, &heir, &tcp(80)),
    ];
    assert_eq!(spans(&events), "10 0-9 seen by 12; nobody 9-9 still");
}

#[test]
fn an_end_without_a_beginning() {
    let (a, b) = (node(10, 1, ""), node(11, 1, ""));
    let events = [release(1, 0.0, &a, &tcp(80)), listen(2, 9.0, &b, &tcp(80))];
    assert_eq!(spans(&events), "11 9-9 still; nobody 0-9 seen");
}

#[test]
fn a_span_over_a_gap_between_two_runs() {
    let (a, b) = (node(10, 1, ""), node(11, 1, ""));
    let events = [
        listen(1, 0.0, &a, &tcp(80)),
        listen(2, 1.0, &b, &tcp(81)),
        session(3, 100.0, &json!({"seq": 2, "time": at(50.0), "stopped": true})),
        initial(4, 100.0, &a, 80),
        release(5, 200.0, &a, &tcp(80)),
    ];
    assert_eq!(spans(&events), "10 0-200 seen over a gap; 11 1-50 unwatched; nobody 200-200 still");
}

#[test]
fn ephemeral_ports_have_no_outage() {
    let a = node(10, 1, "");
    let port = ephemeral(40_000);
    let events = [listen(1, 0.0, &a, &port), release(2, 9.0, &a, &port)];
    assert_eq!(spans(&events), "10 0-9 seen");
}
