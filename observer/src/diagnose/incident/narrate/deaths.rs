//! Who died, how often, and whether it was given up.

use super::{
    super::{
        case::{Case, Death, Tally},
        deaths::LOOP,
        keys::{Ident, LoopKey, seconds},
        weigh::Weight,
    },
    NarratedLine, words,
};
use crate::model::{Body, ExitEvent, OomEvent, Time, human};

/// Most deaths that have a sentence of their own.
const SHOWN: usize = 12;
/// After so many times the usual pause, what was started again and again has likely been given up.
const PAUSES: f64 = 3.0;
/// Shorter silence than this means nothing, however short the pauses, in seconds.
const PATIENCE: f64 = 10.0;

pub(super) fn lines(case: &Case) -> Vec<NarratedLine> {
    let mut lines = Vec::new();
    let mut untold = Vec::new();
    let mut looped: Vec<LoopKey> = Vec::new();
    for (death, exit) in deaths(case) {
        if let Some((key, _)) = looping(case, exit).filter(|_| death.weight >= Weight::Failed) {
            if looped.contains(&key) {
                continue;
            }
            looped.push(key);
        }
        if lines.len() >= SHOWN {
            untold.push((death.event.time, death.event.number()));
            continue;
        }
        lines.push(line(case, death, exit));
    }
    if let Some((time, _)) = untold.iter().max() {
        let more = human::count(untold.len() as u64, "more death");
        let events: Vec<u64> = untold.iter().map(|(_, seq)| *seq).collect();
        lines.push(NarratedLine::new("more".to_owned(), more, *time, events));
    }
    lines.extend(case.tallies.iter().filter(|(_, tally)| is_loop(tally)).map(loop_line));
    lines.extend(unseen(case));
    lines
}

/// The deaths, by time.
pub(super) fn deaths(case: &Case) -> Vec<(&Death, &ExitEvent)> {
    let mut deaths: Vec<_> = case
        .deaths
        .iter()
        .filter_map(|death| match &death.event.body {
            Body::Exit(exit) => Some((death, &**exit)),
            _ => None,
        })
        .collect();
    deaths.sort_by_key(|(death, _)| (death.event.time, death.event.number()));
    deaths
}

fn line(case: &Case, death: &Death, exit: &ExitEvent) -> NarratedLine {
    let event = &death.event;
    let oom = case.ooms.iter().filter(|oom| match &oom.body {
        Body::Oom(oom) => Ident::of(&oom.victim).is(Ident::of(&exit.process)),
        _ => false,
    });
    let oom: Vec<u64> = oom.map(|oom| oom.number()).collect();
    let events = oom.into_iter().chain([event.number()]);
    let gist = format!("death {} {:?}", exit.process.pid, exit.process.start_time);
    NarratedLine::new(gist, words::death(exit), event.time, events)
}

/// OOM kills whose deaths are not here.
fn unseen(case: &Case) -> Vec<NarratedLine> {
    let mut lines = Vec::new();
    for (event, oom) in unseen_ooms(case) {
        let text = oom.summary.clone();
        lines.push(NarratedLine::new(
            format!("oom {}", oom.victim.pid),
            text,
            event.time,
            [event.number()],
        ));
    }
    lines
}

/// The same, with their events.
pub(super) fn unseen_ooms(case: &Case) -> Vec<(&crate::model::Event, &OomEvent)> {
    let died = |oom: &OomEvent| {
        deaths(case).iter().any(|(_, exit)| Ident::of(&exit.process).is(Ident::of(&oom.victim)))
    };
    case.ooms
        .iter()
        .filter_map(|event| match &event.body {
            Body::Oom(oom) => Some((&**event, &**oom)),
            _ => None,
        })
        .filter(|(_, oom)| !died(oom))
        .collect()
}

fn looping<'a>(case: &'a Case, exit: &ExitEvent) -> Option<(LoopKey, &'a Tally)> {
    let key = LoopKey::of(&exit.process)?;
    let tally = case.tallies.get(&key).filter(|tally| is_loop(tally))?;
    Some((key, tally))
}

fn is_loop(tally: &Tally) -> bool {
    tally.count >= LOOP as u64
}

/// The service that died most often, if it is a loop.
pub(super) fn worst(case: &Case) -> Option<(&LoopKey, &Tally)> {
    let loops = case.tallies.iter().filter(|(_, tally)| is_loop(tally));
    loops.max_by_key(|(_, tally)| tally.count)
}

fn loop_line((key, tally): (&LoopKey, &Tally)) -> NarratedLine {
    // Emitted again each time the number has doubled.
    let gist = format!("loop {key:?} {}", tally.count.ilog2());
    let events = [tally.first.1, tally.last.1];
    NarratedLine::new(gist, in_a_loop(key, tally), tally.last.0, events)
}

/// `node of shop.service died 5 times in 12 s`.
pub(super) fn in_a_loop(key: &LoopKey, tally: &Tally) -> String {
    let of = key.unit.as_ref().map(|unit| format!(" of {unit}")).unwrap_or_default();
    let span = human::span(seconds(tally.first.0, tally.last.0));
    format!("{}{of} died {} in {span}", key.comm, words::times(tally.count))
}

/// Whether what died again and again has been given up; only where a new one would have been seen.
pub(super) fn gave_up(case: &Case, now: Time) -> Option<NarratedLine> {
    let (key, tally) = worst(case)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of deaths is small")]
    let pause = seconds(tally.first.0, tally.last.0) / (tally.count - 1) as f64;
    let since = seconds(tally.last.0, now);
    let quiet = since > (pause * PAUSES).max(PATIENCE);
    if !quiet || !is_seen(case) || seen_after(case, tally.last.0) {
        return None;
    }
    let text = format!(
        "{} has likely been given up: no sign of it for {} after its last death; until then it came back every {}",
        key.comm,
        human::span(since),
        human::span(pause),
    );
    let events = [tally.last.1];
    Some(NarratedLine::new(format!("given up {}", tally.last.1), text, tally.last.0, events))
}

/// A start is seen by what it binds.
pub(super) fn is_seen(case: &Case) -> bool {
    !case.refusals.is_empty() || !case.outages.is_empty()
}

fn seen_after(case: &Case, time: Time) -> bool {
    case.refusals.iter().any(|refusal| refusal.last.0 > time)
        || case.listens.iter().any(|served| served.time > time)
        || case.outages.iter().any(|o| o.ended.as_ref().is_some_and(|back| back.time > time))
}
