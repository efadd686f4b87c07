//! The incidents: the headline, a sentence a line with its time, and the events that say so.

use std::collections::HashSet;

use maud::{Markup, html};

use super::{Report, table::section as part, words::cut};
use crate::model::{IncidentEvent, Sentence, human};

/// Most sentences of a incident.
const SENTENCES: usize = 40;
/// Most events of a sentence.
const EVENTS: usize = 8;

pub(super) fn section(report: &Report, ids: &HashSet<u64>) -> Markup {
    let content = html! {
        @if report.incidents_left_out > 0 {
            p.note { (human::count(report.incidents_left_out, "older incident")) " left out here: "
                code { "observer why" } }
        }
        @for incident in &report.incidents { (article(report, incident, ids)) }
    };
    let empty = match (report.incidents.is_empty(), report.filtered) {
        (false, _) => None,
        (true, false) => Some("No incident in this time."),
        (true, true) => {
            Some("No incident that matches. Incidents are found by port, pid and unit only.")
        }
    };
    part("incidents", "Incidents", empty, &content)
}

fn article(report: &Report, incident: &IncidentEvent, ids: &HashSet<u64>) -> Markup {
    let left = incident.sentences.len().saturating_sub(SENTENCES) as u64;
    let seconds = incident.to.0.duration_since(incident.from.0).as_secs_f64();
    html! {
        article {
            h3 { (cut(&incident.subject)) }
            p.summary { (cut(&incident.summary)) }
            p.meta {
                (report.clock.mark(incident.from))
                @if seconds > 0.0 { ", " (human::span(seconds)) }
                ", " (human::count(incident.events.len() as u64, "event"))
                @if let Some(outage) = incident.outage_seconds { ", outage " (human::span(outage)) }
                @if incident.open { ", " strong { "still open" } }
            }
            ol { @for sentence in incident.sentences.iter().take(SENTENCES) {
                li { (report.clock.mark(sentence.time)) " " (cut(&sentence.text)) (evidence(sentence, ids)) }
            } }
            @if left > 0 { p.note { (human::count(left, "more sentence")) ": " code { "observer why" } } }
            @for unknown in incident.unknown.iter().take(SENTENCES) { p.note { "Not known: " (cut(unknown)) } }
        }
    }
}

/// The numbers of the events, which lead to their rows where they have one.
fn evidence(sentence: &Sentence, ids: &HashSet<u64>) -> Markup {
    let left = sentence.events.len().saturating_sub(EVENTS) as u64;
    html! {
        @for seq in sentence.events.iter().take(EVENTS) {
            " "
            @if ids.contains(seq) { a.seq href={ "#e" (seq) } { "#" (seq) } }
            @else { span.seq { "#" (seq) } }
        }
        @if left > 0 { " and " (human::count(left, "more event")) }
    }
}
