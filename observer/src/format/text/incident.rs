//! An incident: the headline, a line a sentence with its time and its evidence, then what it does not know.

use super::layout::Lines;
use crate::{
    format::style::Severity,
    model::{IncidentEvent, human},
};

pub(super) fn lines(lines: &mut Lines<'_>, incident: &IncidentEvent) {
    let severity = if incident.open { Severity::Bad } else { Severity::Notable };
    lines.headline(&incident.subject, &incident.summary, severity);
    lines.detail("when", &when(lines, incident));
    for sentence in &incident.sentences {
        let time = lines.clock(sentence.time);
        let evidence: Vec<String> = sentence.events.iter().map(|seq| format!("#{seq}")).collect();
        let evidence = match evidence.as_slice() {
            [] => String::new(),
            some => format!(" ({})", some.join(" ")),
        };
        let text = format!("{time}  {}{evidence}", sentence.text);
        lines.detail("", &text);
    }
    for unknown in &incident.unknown {
        lines.detail("unknown", unknown);
    }
}

/// From when to when, how many events, and whether it goes on.
fn when(lines: &Lines<'_>, incident: &IncidentEvent) -> String {
    let from = lines.date(incident.from);
    let seconds = incident.to.0.duration_since(incident.from.0).as_secs_f64();
    let over = if seconds > 0.0 { format!(", {}", human::span(seconds)) } else { String::new() };
    let events = human::count(incident.events.len() as u64, "event");
    let state = if incident.open { ", still open" } else { "" };
    format!("{from}{over}, {events}{state}")
}
