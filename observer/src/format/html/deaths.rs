//! Deaths and OOM kills.

use maud::{Markup, html};

use super::{
    Report,
    table::{more, section as part, when},
    words::{PageClock, cut, pair, place, process, size, who, who_and_where},
};
use crate::model::{Cause, Confidence, Event, ExitEvent, OomEvent, human};

pub(super) fn section(report: &Report) -> Markup {
    let columns =
        ["time", "process", "unit or cgroup", "why", "sender or limit", "peak memory", "lifetime"];
    let content = report.deaths.table("Processes that died", &columns, "exit");
    let empty = (report.deaths.total() == 0).then_some("No death that matches.");
    html! {
        (part("deaths", "Deaths", empty, &content))
        @if report.ordinary > 0 {
            p.note { (human::count(report.ordinary, "death")) " with exit code 0 left out: --all shows them." }
        }
    }
}

pub(super) fn oom_section(report: &Report) -> Markup {
    let columns =
        ["time", "victim", "unit or cgroup", "what happened", "limit", "used", "asked for memory"];
    let content = report.ooms.table("Victims that the kernel's OOM killer chose", &columns, "oom");
    let empty = (report.ooms.total() == 0).then_some("No OOM kill that matches.");
    part("oom", "OOM kills", empty, &content)
}

/// One line of a death.
pub(super) fn label(exit: &ExitEvent) -> String {
    cut(&format!("{}: {}", who_and_where(&exit.process), exit.cause.summary))
}

/// One line of an OOM kill.
pub(super) fn oom_label(oom: &OomEvent) -> String {
    cut(&format!("{}: {}", who_and_where(&oom.victim), oom.summary))
}

/// The cells of a death.
pub(super) fn death(clock: &PageClock, event: &Event, exit: &ExitEvent) -> Markup {
    let core = if exit.status.core_dumped == Some(true) { " (core dumped)" } else { "" };
    let status = exit.status.shell_status.to_string();
    let mut released: Vec<String> =
        exit.released.iter().take(8).map(super::words::socket).collect();
    let all = exit.released_total.unwrap_or(0).max(exit.released.len() as u64);
    let unnamed = all - released.len() as u64;
    if unnamed > 0 {
        released.push(format!("{unnamed} more"));
    }
    let released = (!released.is_empty()).then(|| released.join(", "));
    let details = html! {
        (process(&exit.process))
        (pair("exit status", Some(&status).filter(|_| exit.status.signal.is_some()).map(String::as_str)))
        (pair("stopped serving", released.as_deref()))
    };
    html! {
        (when(clock, event))
        td { b { (who(&exit.process)) } (more("process", &details)) }
        td { (place(&exit.process)) }
        td { (cut(&exit.cause.summary)) (core) (why(&exit.cause)) }
        td { (behind(&exit.cause)) }
        td.n { (size(exit.peak_rss_bytes)) }
        td.n { (human::span(exit.lifetime_seconds)) }
    }
}

/// How sure it is, on what it rests, what would help.
pub(super) fn why(cause: &Cause) -> Markup {
    const MOST: usize = 12;
    let details = html! {
        @for evidence in cause.evidence.iter().take(MOST) { dt { "because" } dd { (cut(evidence)) } }
        (pair("do", cause.remedy.as_deref()))
    };
    html! {
        @match cause.confidence {
            Confidence::Certain => {}
            Confidence::Likely => { " " i { "(likely, not certain)" } }
            Confidence::Possible => { " " i { "(one of several explanations)" } }
        }
        @if !cause.evidence.is_empty() || cause.remedy.is_some() { (more("evidence", &details)) }
    }
}

/// Who sent the signal, or whose limit it was.
fn behind(cause: &Cause) -> Markup {
    let limit = cause.limit_cgroup.as_deref().or(cause.resource.as_deref());
    html! {
        @if let Some(sender) = &cause.sender {
            (who_and_where(sender)) (more("sender", &process(sender)))
        } @else if let Some(daemon) = &cause.daemon {
            (cut(daemon))
        }
        @if let Some(prompt) = &cause.prompted_by {
            p { (prompt.signal_name) " "
                @if let Some(sender) = &prompt.sender { "from " (who_and_where(sender)) " " }
                (human::span(prompt.seconds)) " before" }
        }
        @if let Some(limit) = limit { (cut(limit)) " " }
        @if let Some(bytes) = cause.limit_bytes { (human::size(bytes)) }
        @if let Some(seq) = cause.oom_seq { " " a.seq href={ "#e" (seq) } { "#" (seq) } }
    }
}

/// The cells of an OOM kill.
pub(super) fn oom(clock: &PageClock, event: &Event, oom: &OomEvent) -> Markup {
    html! {
        (when(clock, event))
        td { b { (who(&oom.victim)) } (more("process", &process(&oom.victim))) }
        td { (place(&oom.victim)) }
        td { (cut(&oom.summary)) }
        td { (cut(oom.limit_cgroup.as_deref().unwrap_or(""))) " " (size(oom.limit_bytes)) }
        td.n { (size(oom.usage_bytes)) }
        td { (who_and_where(&oom.trigger)) }
    }
}
