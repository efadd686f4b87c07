//! Times in which somebody served, and those in which nobody did.

use serde_json::{Value, json};

use super::{
    super::ownership::{End, Ownership},
    build::{at, ephemeral, event, listen, node, release, tcp},
};
use crate::model::{Event, Time};

fn told(events: &[Event]) -> String {
    let mut ownership = Ownership::of(|_: &_, _: Option<&_>, _, _| true);
    for event in events {
        ownership.push(event);
    }
    let (served, dark) = ownership.finish(None);
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
    for d in dark.iter() {
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
fn one_after_the_other_whatever_the_order_in_the_record() {
    let (a, b) = (node(10, 1, "shop.service"), node(11, 1, "shop.service"));
    let events = [
        listen(1, 0.0, &a, &tcp(80)),
        listen(3, 9.5, &b, &tcp(80)),
        release(2, 9.0, &a, &tcp(80)),
        release(4, 20.0, &b, &tcp(80)),
        listen(5, 40.0, &a, &tcp(81)),
    ];
    let dark = "nobody 9-9 seen; nobody 20-40 still";
    assert_eq!(told(&events), format!("10 0-9 seen; 11 9-20 seen; 10 40-40 still; {dark}"));
}

#[test]
fn an_heir_holds_it_to_the_end() {
    let (a, heir) = (node(10, 1, ""), node(12, 10, ""));
    let events = [
        listen(1, 0.0, &a, &tcp(80)),
        release(2, 9.0, &heir, &tcp(80)),
        // Told again by the death.
        release(3, 9.5, &heir, &tcp(80)),
    ];
    assert_eq!(told(&events), "10 0-9 seen by 12; nobody 9-9 still");
}

#[test]
fn an_end_without_a_beginning() {
    let (a, b) = (node(10, 1, ""), node(11, 1, ""));
    let events = [release(1, 0.0, &a, &tcp(80)), listen(2, 9.0, &b, &tcp(80))];
    assert_eq!(told(&events), "11 9-9 still; nobody 0-9 seen");
}

#[test]
fn while_nobody_watched() {
    let (a, b) = (node(10, 1, ""), node(11, 1, ""));
    let events = [
        listen(1, 0.0, &a, &tcp(80)),
        listen(2, 1.0, &b, &tcp(81)),
        session(3, 100.0, &json!({"seq": 2, "time": at(50.0), "stopped": true})),
        initial(4, 100.0, &a, 80),
        release(5, 200.0, &a, &tcp(80)),
    ];
    assert_eq!(told(&events), "10 0-200 seen over a gap; 11 1-50 unwatched; nobody 200-200 still");
}

#[test]
fn ports_that_the_kernel_deals_out_go_dark_unnoticed() {
    let a = node(10, 1, "");
    let port = ephemeral(40_000);
    let events = [listen(1, 0.0, &a, &port), release(2, 9.0, &a, &port)];
    assert_eq!(told(&events), "10 0-9 seen");
}
