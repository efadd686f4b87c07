//! Outages: of what, for how long, and who serves it now.

use super::{
    super::{case::Case, keys::meets, ports::Outage},
    NarratedLine, length, words,
};
use crate::model::{
    Socket, Time,
    human::{self, who},
};

/// More outages of one socket than this become one sentence.
const SHOWN: usize = 3;

pub(super) fn lines(case: &Case, now: Time) -> Vec<NarratedLine> {
    let mut lines = Vec::new();
    for socket in outage_sockets(case) {
        let mut own: Vec<&Outage> = case.outages.iter().filter(|o| o.socket == *socket).collect();
        own.sort_by_key(|outage| outage.began);
        let shown = if own.len() > SHOWN { 1 } else { own.len() };
        for outage in own.iter().take(shown) {
            lines.push(began(outage));
            lines.extend(back(outage));
        }
        if own.len() > SHOWN {
            lines.extend(many(socket, &own, now));
        }
    }
    for half in &case.still_held {
        let (served, exit) = (&half.served, &half.exit);
        let text = format!(
            "{} is still held although {}, which opened it, is dead: another process has its socket",
            served.socket.name(),
            words::short(&served.process),
        );
        let gist = format!("still held {}", served.socket.name());
        lines.push(NarratedLine::new(gist, text, exit.time, [served.seq, exit.number()]));
    }
    for other in &case.other_servers {
        let text = format!(
            "{} was released, and {} still has {}",
            other.socket.name(),
            who(&other.by.process),
            other.by.socket.name(),
        );
        let gist = format!("other server {}", other.socket.name());
        lines.push(NarratedLine::new(gist, text, other.time, [other.seq, other.by.seq]));
    }
    for served in new_servers(case) {
        let text = format!("{} serves {}", who(&served.process), served.socket.name());
        let gist = format!("serves {}", served.socket.name());
        lines.push(NarratedLine::new(gist, text, served.time, [served.seq]));
    }
    lines
}

/// Whoever began to serve what others had been refused, without an outage before: the newest for each socket.
fn new_servers(case: &Case) -> impl Iterator<Item = &super::super::ports::Server> {
    case.listens.iter().filter(|served| {
        let newer = |other: &&super::super::ports::Server| {
            other.socket == served.socket && (other.time, other.seq) > (served.time, served.seq)
        };
        let dark = case.outages.iter().any(|o| meets(&o.socket, &served.socket));
        !dark && !case.listens.iter().any(|other| newer(&other))
    })
}

/// Each socket that was not served for a time, the first one first.
fn outage_sockets(case: &Case) -> Vec<&Socket> {
    let mut outages: Vec<&Outage> = case.outages.iter().collect();
    outages.sort_by_key(|outage| outage.began);
    let mut sockets: Vec<&Socket> = Vec::new();
    for outage in outages {
        if !sockets.contains(&&outage.socket) {
            sockets.push(&outage.socket);
        }
    }
    sockets
}

fn began(outage: &Outage) -> NarratedLine {
    let last = outage.last.as_ref().map(|last| format!(": {} was the last to serve it", who(last)));
    let late = if outage.late { ", perhaps since a little earlier" } else { "" };
    let (name, last) = (outage.socket.name(), last.unwrap_or_default());
    let text = format!("nobody serves {name} any more{late}{last}");
    let gist = format!("outage {name} {}", outage.began);
    NarratedLine::new(gist, text, outage.began, outage.events.iter().map(|(_, seq)| *seq))
}

fn back(outage: &Outage) -> Option<NarratedLine> {
    let back = outage.ended.as_ref()?;
    let name = back.socket.name();
    let text = match length(outage, back.time) {
        Some(dark) => {
            format!("{} serves {name} again, after {}", who(&back.process), human::span(dark))
        }
        None => format!(
            "{} serves {name}: observer found it at its start; since when is not known",
            who(&back.process),
        ),
    };
    Some(NarratedLine::new(format!("back {name} {}", back.seq), text, back.time, [back.seq]))
}

fn many(socket: &Socket, own: &[&Outage], now: Time) -> Option<NarratedLine> {
    let (first, last) = (own.first()?, own.last()?);
    let sum: f64 = own.iter().filter_map(|outage| length(outage, now)).sum();
    let text = format!(
        "{} had {}, {} in all",
        socket.name(),
        human::count(own.len() as u64, "outage"),
        human::span(sum),
    );
    let gist = format!("outages {} {}", socket.name(), own.len().ilog2());
    let events = [first, last].into_iter().flat_map(|o| o.events.iter().map(|(_, seq)| *seq));
    let back = last.ended.as_ref().map(|back| back.seq);
    let time = last.ended.as_ref().map_or(last.began, |back| back.time);
    Some(NarratedLine::new(gist, text, time, events.chain(back)))
}

/// Outages that last.
pub(super) fn ongoing(case: &Case, now: Time) -> Vec<NarratedLine> {
    let dark = case.outages.iter().filter(|outage| outage.ended.is_none());
    dark.map(|outage| {
        let name = outage.socket.name();
        let so_far = length(outage, now).map(|span| format!(", {} so far", human::span(span)));
        let text = format!("nobody has served {name} since{}", so_far.unwrap_or_default());
        let gist = format!("still {name}");
        NarratedLine::new(gist, text, outage.began, outage.events.iter().map(|(_, seq)| *seq))
    })
    .collect()
}
