//! An incident in words: the summary, sentences with their evidence, and what is not known.
//!
//! **Invariant:** words only; which events belong to the incident is decided before.

mod deaths;
mod ports;
mod refusals;
mod summary;
mod unknown;
mod words;

use super::{case::Case, keys::seconds, ports::Outage};
use crate::model::{IncidentEvent, Sentence, Socket, Time};

/// A sentence and its gist: the incident is emitted again when a gist changes, not when a span grows.
struct NarratedLine {
    gist: String,
    /// Which of those at one moment comes first: the newest event that says it.
    order: u64,
    sentence: Sentence,
}

impl NarratedLine {
    /// A sentence with its evidence; the newest of it says when.
    fn new(gist: String, text: String, time: Time, events: impl IntoIterator<Item = u64>) -> Self {
        // One without a number is in no store: nobody could look it up.
        let mut events: Vec<u64> = events.into_iter().filter(|seq| *seq > 0).collect();
        events.sort_unstable();
        events.dedup();
        let order = events.last().copied().unwrap_or(0);
        Self { gist, order, sentence: Sentence { text, time, events } }
    }
}

/// All sentences, by time.
fn lines(case: &Case, now: Time) -> Vec<NarratedLine> {
    let mut lines = deaths::lines(case);
    lines.extend(ports::lines(case, now));
    lines.extend(refusals::lines(case));
    lines.sort_by_key(|line| (line.sentence.time, line.order));
    lines.extend(ports::ongoing(case, now));
    lines.extend(deaths::gave_up(case, now));
    lines
}

/// What must change for the incident to be emitted again.
pub(super) fn gist(case: &Case) -> String {
    let gists: Vec<String> = lines(case, case.last).into_iter().map(|line| line.gist).collect();
    gists.join("\n")
}

/// The incident as it stands.
pub(super) fn incident(case: &Case, now: Time) -> IncidentEvent {
    let now = now.max(case.last);
    let lines = lines(case, now);
    let mut named = case.named.to_set();
    named.extend(
        lines.iter().flat_map(|line| {
            line.sentence.events.iter().map(move |seq| (line.sentence.time, *seq))
        }),
    );
    let mut events: Vec<u64> = Vec::new();
    for (_, seq) in named {
        if !events.contains(&seq) {
            events.push(seq);
        }
    }
    let mut pids: Vec<u32> = case.idents.iter().map(|ident| ident.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let subject = subject_socket(case);
    IncidentEvent {
        subject: summary::subject(case, subject),
        summary: summary::summary(case, subject, now),
        from: case.first,
        to: case.last,
        open: !case.dropped
            && (case.has_outage() || case.closes().is_some_and(|closes| now <= closes)),
        outage_seconds: subject.and_then(|socket| outage_length(case, socket, now)),
        events,
        unknown: unknown::unknown(case),
        sentences: lines.into_iter().map(|line| line.sentence).collect(),
        sockets: sockets(case),
        units: units(case),
        pids,
    }
}

/// The port or path that the incident is about: one with an outage, one that was refused, or one that a dead process left held.
fn subject_socket(case: &Case) -> Option<&Socket> {
    let dark = main_outage(case).map(|outage| &outage.socket);
    dark.or_else(|| refusals::first(case).map(|(_, bind)| &bind.socket))
        .or_else(|| case.still_held.first().map(|half| &half.served.socket))
}

/// The outage that matters most: the first that lasts, else the first.
fn main_outage(case: &Case) -> Option<&Outage> {
    case.outages.iter().min_by_key(|outage| (outage.ended.is_some(), outage.began))
}

/// How long nobody served a socket, over all outages of it; `None` when that is not known.
fn outage_length(case: &Case, socket: &Socket, now: Time) -> Option<f64> {
    let mut own = case.outages.iter().filter(|outage| outage.socket == *socket).peekable();
    own.peek()?;
    own.try_fold(0.0, |sum, outage| Some(sum + length(outage, now)?))
}

/// How long an outage was, up to now while it lasts; `None` when its end was not seen.
fn length(outage: &Outage, now: Time) -> Option<f64> {
    match &outage.ended {
        Some(back) if back.initial => None,
        Some(back) => Some(seconds(outage.began, back.time)),
        // The outage began at the last event.
        None if now <= outage.began => None,
        None => Some(seconds(outage.began, now)),
    }
}

/// The units of its processes, and those whose memory limit was hit: a slice has no processes of its own.
fn units(case: &Case) -> Vec<String> {
    let limits = case.limits.iter().filter_map(|cgroup| cgroup.rsplit('/').next());
    let limits = limits.filter(|name| name.ends_with(".slice") || name.ends_with(".service"));
    let mut units: Vec<String> =
        case.units.iter().cloned().chain(limits.map(str::to_owned)).collect();
    units.sort_unstable();
    units.dedup();
    units
}

/// Sockets without their state, each once.
fn sockets(case: &Case) -> Vec<Socket> {
    let mut sockets: Vec<Socket> = Vec::new();
    for socket in &case.sockets {
        let socket = Socket { state: None, ..socket.clone() };
        if !sockets.contains(&socket) {
            sockets.push(socket);
        }
    }
    sockets
}
