//! Whatever happens in whatever order: the incidents hold, and both ways of telling them agree.

use proptest::prelude::*;

use super::{
    super::{Incidents, incidents},
    build::{
        at, crash, ended, holder, listen, loss, node, oom, oom_killed, refused, release, session,
        stopped, tcp,
    },
};
use crate::model::{Event, IncidentEvent};

const UNITS: [&str; 3] = ["shop.service", "mail.service", ""];

/// An event of a small world: few processes, few ports, few units, so that they meet all the time.
fn any_event() -> impl Strategy<Value = (u32, u32, u8, usize, u16, u32)> {
    (0_u32..40_000, 100_u32..112, 0_u8..12, 0_usize..3, 80_u16..83, 100_u32..112)
}

fn build(seq: u64, seconds: f64, what: (u32, u32, u8, usize, u16, u32)) -> Event {
    let (_, pid, kind, unit, port, other) = what;
    let ppid = if pid % 3 == 0 { 1 } else { pid - 1 };
    let process = node(pid, ppid, UNITS[unit]);
    let socket = tcp(port);
    let released = [socket.clone()];
    let holders = [holder(&node(other, 1, ""), &socket, Some(-5.0), "orphan")];
    match kind {
        0 => crash(seq, seconds, &process, &released),
        1 => crash(seq, seconds, &process, &[]),
        2 => ended(seq, seconds, &process, 1, &[]),
        3 => ended(seq, seconds, &process, 0, &released),
        4 => stopped(seq, seconds, &process, &released),
        5 => oom(seq, seconds, &process, "/shop"),
        6 => oom_killed(seq, seconds, &process, seq.saturating_sub(1), &released),
        7 => refused(seq, seconds, &process, &socket, &holders),
        8 => refused(seq, seconds, &process, &socket, &[]),
        9 => release(seq, seconds, &process, &socket),
        10 => loss(seq, seconds, 3),
        _ => listen(seq, seconds, &process, &socket),
    }
}

/// A history by time; steps of up to 40 s, so that incidents open and close.
fn history() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(any_event(), 0..60).prop_map(|all| {
        let mut seconds = 0.0;
        let mut history = vec![session(1, -1.0)];
        for (seq, what) in (2..).zip(all) {
            // Most follow at once, as in a storm.
            seconds += if what.0 < 20_000 { 0.01 } else { f64::from(what.0 - 20_000) / 500.0 };
            history.push(build(seq, seconds, what));
        }
        history
    })
}

/// The final incidents of the incremental form, fed one by one, with the clock asked in between.
fn one_by_one(history: &[Event], ticks: bool) -> Vec<IncidentEvent> {
    let mut incidents = Incidents::default();
    let mut emitted = Vec::new();
    for event in history {
        if ticks {
            emitted.extend(incidents.tick(event.time));
        }
        emitted.extend(incidents.push(event));
    }
    emitted.retain(|incident| !incident.open);
    emitted.extend(incidents.finish());
    emitted.sort_by(|a, b| (a.from, &a.events, &a.subject).cmp(&(b.from, &b.events, &b.subject)));
    emitted
}

fn hold(history: &[Event], emitted: &[IncidentEvent]) {
    let seqs: Vec<u64> = history.iter().map(Event::number).collect();
    for incident in emitted {
        assert!(incident.outage_seconds.is_none_or(|seconds| seconds >= 0.0), "{incident:?}");
        assert!(incident.from <= incident.to);
        assert!(!incident.summary.is_empty() && !incident.subject.is_empty());
        assert!(!incident.events.is_empty());
        assert!(incident.events.iter().all(|seq| seqs.contains(seq)), "{incident:?}");
        for sentence in &incident.sentences {
            assert!(!sentence.events.is_empty(), "{sentence:?}");
            assert!(sentence.events.iter().all(|seq| incident.events.contains(seq)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn both_ways_agree(history in history()) {
        let emitted = incidents(&history);
        hold(&history, &emitted);
        prop_assert_eq!(&emitted, &one_by_one(&history, false));
        prop_assert_eq!(&emitted, &one_by_one(&history, true));
    }

    #[test]
    fn order_and_doubles_change_nothing(
        (history, shuffled) in history().prop_flat_map(|h| (Just(h.clone()), Just(h).prop_shuffle())),
        twice in any::<bool>(),
    ) {
        let mut shuffled = shuffled;
        if twice {
            shuffled.extend(history.clone());
        }
        prop_assert_eq!(incidents(&history), incidents(&shuffled));
    }

    #[test]
    fn a_little_disorder_changes_nothing_while_it_happens(
        (history, late) in history().prop_flat_map(|h| {
            let late = prop::collection::vec(0.0_f64..1.9, h.len());
            (Just(h), late)
        })
    ) {
        // Each event comes up to 1.9 s after it happened.
        let mut arrivals: Vec<(f64, Event)> = history
            .iter()
            .zip(late)
            .map(|(event, late)| {
                let since = event.time.0.duration_since(at(0.0).0).as_secs_f64();
                (since + late, event.clone())
            })
            .collect();
        arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
        let arrived: Vec<Event> = arrivals.into_iter().map(|(_, event)| event).collect();
        prop_assert_eq!(incidents(&history), one_by_one(&arrived, false));
    }

    #[test]
    fn what_is_missing_makes_no_panic(history in history(), kept in prop::collection::vec(any::<bool>(), 61)) {
        let history: Vec<Event> =
            history.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(event, _)| event).collect();
        hold(&history, &incidents(&history));
    }

    #[test]
    fn live_incidents_hold_in_any_order(
        (history, shuffled) in history().prop_flat_map(|h| (Just(h.clone()), Just(h).prop_shuffle())),
    ) {
        hold(&history, &one_by_one(&shuffled, true));
    }

    #[test]
    fn deadlines_close_everything_but_outages(history in history()) {
        let mut incidents = Incidents::default();
        for event in &history {
            incidents.push(event);
        }
        for _ in 0..10_000 {
            let Some(deadline) = incidents.deadline() else { break };
            incidents.tick(deadline);
        }
        prop_assert_eq!(incidents.deadline(), None);
        prop_assert!(incidents.finish().iter().all(|incident| incident.open));
    }
}

/// A loop of a million deaths keeps the memory and the incident small.
#[test]
fn a_long_loop_stays_small() {
    let mut incidents = Incidents::default();
    let mut emitted = Vec::new();
    for n in 0..20_000_u32 {
        let process = node(200 + n, 1, "shop.service");
        let seconds = f64::from(n);
        let seq = u64::from(n) * 3 + 1;
        emitted.extend(incidents.push(&listen(seq, seconds, &process, &tcp(80))));
        emitted.extend(incidents.push(&crash(seq + 1, seconds + 0.5, &process, &[tcp(80)])));
    }
    assert!(emitted.len() <= 17, "{}", emitted.len());
    let last = incidents.finish().pop().expect("an incident");
    assert!(last.summary.contains("died 20000 times"), "{}", last.summary);
    assert!(last.events.len() < 300, "{}", last.events.len());
    assert!(last.sentences.len() < 40, "{:#?}", last.sentences);
}

/// So does a storm of strangers.
#[test]
fn a_storm_stays_small() {
    let mut incidents = Incidents::default();
    let mut open = 0_usize;
    for n in 0..3000_u32 {
        let seq = u64::from(n) + 1;
        let process = node(20_000 + n, 1, &format!("s{n}.service"));
        for incident in incidents.push(&crash(seq, f64::from(n) / 100.0, &process, &[])) {
            open += usize::from(incident.open);
        }
    }
    assert!(open > 2000);
    let left = incidents.finish();
    assert!(left.iter().filter(|incident| incident.open).count() <= super::super::CASES);
}
