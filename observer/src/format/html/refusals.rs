//! Refused binds and listens.

use maud::{Markup, html};

use super::{
    Report,
    deaths::why,
    table::{more, section as part, when},
    words::{PageClock, cut, place, process, socket, who, who_and_where},
};
use crate::model::{BindEvent, Call, Event, Holder, human};

/// Most holders of a row.
const HOLDERS: usize = 8;

pub(super) fn section(report: &Report) -> Markup {
    let columns = ["time", "process", "unit or cgroup", "wanted", "why not", "who holds it"];
    let content =
        report.refusals.table("Binds and listens that the kernel refused", &columns, "bind");
    let empty = (report.refusals.total() == 0).then_some("No refused bind that matches.");
    part("refusals", "Refused binds", empty, &content)
}

/// One line of a refusal.
pub(super) fn label(bind: &BindEvent) -> String {
    let (who, wanted) = (who_and_where(&bind.process), bind.socket.name());
    cut(&format!("{who}: {} {wanted} refused: {}", call(bind.call), bind.cause.summary))
}

fn call(call: Call) -> &'static str {
    match call {
        Call::Bind => "bind",
        Call::Listen => "listen on",
    }
}

/// The cells of a refusal.
pub(super) fn refusal(clock: &PageClock, event: &Event, bind: &BindEvent) -> Markup {
    let left = bind.all_holders().saturating_sub(bind.holders.len().min(HOLDERS) as u64);
    html! {
        (when(clock, event))
        td { b { (who(&bind.process)) } (more("process", &process(&bind.process))) }
        td { (place(&bind.process)) }
        td { (call(bind.call)) " " (socket(&bind.socket)) }
        td { (cut(&bind.cause.summary)) " (" (cut(&bind.error.name)) ")" (why(&bind.cause))
            @if let Some(repeats) = bind.repeats { p { (human::count(repeats, "more time")) } }
        }
        td {
            @if bind.holders.is_empty() { "nobody" }
            @for one in bind.holders.iter().take(HOLDERS) { (holder(clock, one)) }
            @if left > 0 { p { (human::count(left, "more holder")) } }
        }
    }
}

fn holder(clock: &PageClock, holder: &Holder) -> Markup {
    let relation = holder.relation.words();
    html! {
        p {
            b { (who_and_where(&holder.process)) }
            @if !relation.is_empty() { ", " (relation) }
            ": " (socket(&holder.socket))
            @if let Some(fd) = holder.fd { " on fd " (fd) }
            @if holder.inherited == Some(true) { ", inherited" }
            @if let Some(since) = holder.since { ", since " (clock.mark(since)) }
        }
        (more("holder", &process(&holder.process)))
    }
}
