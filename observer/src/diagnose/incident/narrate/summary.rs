//! The incident in a line, and what it is about.

use super::{
    super::{
        case::Case,
        keys::{Ident, same_port},
        ports::Outage,
        weigh::Weight,
    },
    deaths, length, main_outage, outage_length, refusals, words,
};
use crate::model::{
    Body, CauseType, ExitEvent, Socket, Time,
    human::{self, who},
};

/// The port, the path, the unit or the process.
pub(super) fn subject(case: &Case, socket: Option<&Socket>) -> String {
    let unit = || case.units.iter().next().cloned();
    let pid = || case.idents.first().map(|ident| format!("pid:{}", ident.pid));
    socket.and_then(words::asked).or_else(unit).or_else(pid).unwrap_or_else(|| "unknown".to_owned())
}

/// One line.
pub(super) fn summary(case: &Case, socket: Option<&Socket>, now: Time) -> String {
    let mut parts = Vec::new();
    let outage = main_outage(case);
    parts.extend(outage.into_iter().flat_map(|outage| prelude(case, outage)));
    if let (Some(outage), Some(socket)) = (outage, socket) {
        parts.push(outage_part(case, outage, socket, now));
    } else if let Some(exit) = worst_death(case) {
        // Whoever was refused ended for that: the refusal says it better.
        if !ended_refused(case, exit) {
            parts.push(words::death(exit));
        }
    } else if let Some((_, oom)) = deaths::unseen_ooms(case).into_iter().next() {
        parts.push(oom.summary.clone());
    }
    let refusals = refusals::all(case);
    // A refusal from before the outage explains nothing of it.
    let begin = outage.map_or(case.first, |outage| outage.began);
    let of_subject = refusals.iter().rev().find(|(refusal, bind)| {
        refusal.last.0 >= begin && socket.is_some_and(|socket| same_port(socket, &bind.socket))
    });
    let any = refusals.last().filter(|_| outage.is_none());
    if let Some((refusal, bind)) = of_subject.or(any) {
        parts.push(refusals::refused(case, bind, &refusal.origins, refusal.event.time));
    } else if let Some(half) = case.still_held.first() {
        parts.push(format!("{} is still held", half.served.socket.name()));
    }
    if let Some((key, tally)) = deaths::worst(case) {
        parts.push(deaths::in_a_loop(key, tally));
    }
    let parts = once(case, parts);
    if parts.is_empty() { "nothing is known of it".to_owned() } else { parts.join("; ") }
}

/// Who held the port before the outage, and whose death left it behind: that is where the trouble began.
fn prelude(case: &Case, outage: &Outage) -> Vec<String> {
    let Some(last) = outage.last.as_ref().map(Ident::of) else { return Vec::new() };
    let before = refusals::all(case).into_iter().find_map(|(refusal, bind)| {
        let earlier = refusal.event.time < outage.began && same_port(&bind.socket, &outage.socket);
        let at = bind.holders.iter().position(|holder| Ident::of(&holder.process).is(last))?;
        let left_by = refusal.origins.get(at)?.left_by.as_ref()?;
        earlier.then_some((refusal, bind, left_by))
    });
    let Some((refusal, bind, left_by)) = before else { return Vec::new() };
    let death = match &left_by.body {
        Body::Exit(exit) => Some(words::death(exit)),
        _ => None,
    };
    let refused = refusals::refused(case, bind, &refusal.origins, refusal.event.time);
    death.into_iter().chain([refused]).collect()
}

/// A unit that the first part names is not named again.
fn once(case: &Case, mut parts: Vec<String>) -> Vec<String> {
    if let Some((first, others)) = parts.split_first_mut() {
        for unit in case.units.iter().map(|unit| format!(" ({unit})")) {
            for other in others.iter_mut().filter(|_| first.contains(&unit)) {
                *other = other.replace(&unit, "");
            }
        }
    }
    parts
}

fn outage_part(case: &Case, outage: &Outage, socket: &Socket, now: Time) -> String {
    let name = socket.name();
    let span = length(outage, now).map(human::span);
    let mut what = match (&outage.ended, span) {
        (None, Some(span)) => format!("nobody has served {name} for {span}"),
        (Some(_), Some(span)) => format!("nobody served {name} for {span}"),
        (None, None) => format!("nobody serves {name} any more"),
        (Some(_), None) => format!("nobody served {name} for a time that is not known"),
    };
    let times = case.outages.iter().filter(|outage| outage.socket == *socket).count() as u64;
    if times > 1 {
        let sum = outage_length(case, socket, now).map(human::span);
        let sum = sum.map(|sum| format!(", {sum} in all")).unwrap_or_default();
        what.push_str(&format!(" ({}{sum})", human::count(times, "outage")));
    }
    let last = outage.last.as_ref();
    let own = deaths::deaths(case).into_iter().find(|(death, exit)| {
        outage.events.contains(&(death.event.time, death.event.number()))
            || last.is_some_and(|last| Ident::of(last).is(Ident::of(&exit.process)))
    });
    let own = own.map(|(_, exit)| exit);
    match (own, last) {
        (Some(exit), _) => format!("{what}: {}", words::death(exit)),
        (None, Some(last)) => format!("{what}: {} stopped serving it", who(last)),
        (None, None) => what,
    }
}

fn ended_refused(case: &Case, exit: &ExitEvent) -> bool {
    let last = refusals::all(case).into_iter().next_back();
    exit.cause.cause_type == CauseType::ExitCode
        && last.is_some_and(|(_, bind)| Ident::of(&bind.process).is(Ident::of(&exit.process)))
}

/// The first of the heaviest deaths.
fn worst_death(case: &Case) -> Option<&ExitEvent> {
    let deaths = deaths::deaths(case);
    let heaviest = deaths.iter().map(|(death, _)| death.weight).max()?;
    let heaviest = heaviest.max(Weight::Failed);
    deaths.into_iter().find(|(death, _)| death.weight >= heaviest).map(|(_, exit)| exit)
}
