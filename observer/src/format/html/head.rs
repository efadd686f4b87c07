//! What the page covers, what is missing, and whether the stored events verify.

use maud::{Markup, html};

use super::{
    Report,
    table::{section as part, when},
    words::{PageClock, cut},
};
use crate::{
    model::{Event, FloodEvent, LossEvent, Time, human},
    store::verify,
};

/// What the page is called.
pub(super) fn title(report: &Report) -> String {
    let hosts: Vec<String> = report.hosts.iter().map(|host| cut(host)).collect();
    format!("observer report: {}", hosts.join(", "))
}

pub(super) fn header(report: &Report, title: &str) -> Markup {
    let count = |n, one| human::count(n, one);
    html! {
        header {
            h1 { (title) }
            p.span { (span(report)) }
            ul.counts {
                li { a href="#incidents" { (count(incidents(report), "incident")) } }
                li { a href="#deaths" { (count(report.deaths.total(), "death")) } }
                li { a href="#oom" { (count(report.ooms.total(), "OOM kill")) } }
                li { a href="#refusals" { (count(report.refusals.total(), "refused bind")) } }
            }
            (warnings(report))
        }
    }
}

fn incidents(report: &Report) -> u64 {
    report.incidents.len() as u64 + report.incidents_left_out
}

/// From when to when, and what part of it.
fn span(report: &Report) -> String {
    let date = |time| report.clock.date(time);
    let (since, until) = report.asked;
    let first = since.map(Time).or(report.span.map(|(first, _)| first));
    let last = until.map(Time).or(report.span.map(|(_, last)| last));
    let mut text = match (first, last) {
        (Some(first), Some(last)) => format!("From {} to {}", date(first), date(last)),
        (Some(first), None) => format!("Since {}", date(first)),
        _ => "All stored events".to_owned(),
    };
    if report.filtered {
        text.push_str(", filtered: only some of the events of that time");
    }
    text + "."
}

/// What a reader must know before anything else.
fn warnings(report: &Report) -> Markup {
    let lost: u64 = report.lost.values().sum();
    html! {
        @if lost > 0 {
            p.bad role="note" { "LOST: " (human::count(lost, "event")) " of this time could not be stored: this page \
                may be incomplete. " a href="#losses" { "When and why" } "." }
        }
        @if report.summed > 0 {
            p role="note" { (human::count(report.summed, "more event")) " of this time " (if report.summed == 1 { "was" } else { "were" })
                " counted and not stored one by one. " a href="#floods" { "Whose" } "." }
        }
        @match &report.verified {
            Ok(verified) if verified.faults.is_empty() => {}
            Ok(_) => p.bad role="note" { "VERIFICATION FAILED: the stored events are not those that were sealed. "
                a href="#store" { "What is wrong" } "." }
            Err(error) => p.bad role="note" { "The stored events could not be verified: " (cut(error)) }
        }
        @for broken in &report.broken {
            p.bad role="note" { (broken) ": the rest of it is not shown." }
        }
        @if report.unreadable > 0 {
            p.bad role="note" { (human::count(report.unreadable, "line")) " of the store cannot be read." }
        }
    }
}

/// The cells of a flood.
pub(super) fn flood(clock: &PageClock, event: &Event, flood: &FloodEvent) -> Markup {
    html! {
        (when(clock, event))
        td { (cut(&flood.whose())) }
        td { (flood.counted()) }
        td { (flood.by_cause()) }
        td { (clock.mark(flood.from)) }
        td { (clock.mark(flood.to)) }
    }
}

/// The cells of a loss.
pub(super) fn loss(clock: &PageClock, event: &Event, loss: &LossEvent) -> Markup {
    let lost: Vec<String> = loss.lost.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    html! {
        (when(clock, event))
        td { @if loss.at_most { "at most " } (cut(&lost.join(", "))) }
        td { (clock.mark(loss.from)) }
        td { (clock.mark(loss.to)) }
        td { (cut(&loss.reason)) }
    }
}

/// Floods, losses, versions and seals.
pub(super) fn record(report: &Report) -> Markup {
    let floods = report.floods.table(
        "Events that were counted and not stored one by one",
        &["time", "whose", "how many", "causes", "from", "to"],
        "flood",
    );
    let losses = report.losses.table(
        "Events that could not be stored",
        &["time", "lost", "not before", "not after", "because"],
        "loss",
    );
    let versions = html! {
        @for (kernel, version) in report.versions.iter().rev() {
            p { "Linux " (kernel) ", observer " (version) }
        }
        (seals(report))
    };
    html! {
        @if report.floods.total() > 0 { (part("floods", "Floods", None, &floods)) }
        @if report.losses.total() > 0 { (part("losses", "Losses", None, &losses)) }
        (part("store", "The store", None, &versions))
    }
}

fn seals(report: &Report) -> Markup {
    const MOST: usize = 50;
    let verified = match &report.verified {
        Ok(verified) => verified,
        Err(error) => return html! { p.bad { "It could not be verified: " (cut(error)) } },
    };
    let is_plain = verified.faults.is_empty()
        && verified.notes.is_empty()
        && verified.retired.is_none()
        && verified.unsealed == 0;
    let left = verified.faults.len().saturating_sub(MOST) as u64;
    html! {
        p {
            @if verified.faults.is_empty() { strong.good { "Verified" } }
            @else { strong.bad { "VERIFICATION FAILED" } }
            ": " (human::count(verified.sealed, "sealed event")) " in "
            (human::count(verified.segments, "segment")) "; last seal " code { (cut(&verified.chain)) } "."
        }
        @if !is_plain { ul {
            @for fault in verified.faults.iter().take(MOST) { li.bad { (describe(fault)) } }
            @if left > 0 { li { (human::count(left, "more fault")) ": " code { "observer verify" } } }
            @for note in verified.notes.iter().take(MOST) { li { (cut(note)) } }
            @if let Some(number) = verified.retired {
                li { "segments up to number " (number) " were removed for their age or size" }
            }
            @if verified.unsealed > 0 {
                li { (human::count(verified.unsealed, "event")) " at the end had no seal yet" }
            }
        } }
    }
}

fn describe(fault: &verify::Fault) -> String {
    let record = fault.record.map(|record| format!(", event {record}")).unwrap_or_default();
    let seq = fault.seq.map(|seq| format!(" (seq {seq})")).unwrap_or_default();
    cut(&format!("{}{record}{seq}: {}", fault.segment, fault.what))
}
