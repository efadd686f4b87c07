//! Who served which port, from when to when, and the gaps.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    Report,
    table::section as part,
    words::{place, socket, who, who_and_where},
};
use crate::{
    diagnose::incident::ownership::{End, OutageSpan, ServedSpan},
    model::{Protocol, Socket, Time, human},
};

/// One row of a socket: served, or not.
enum Span<'a> {
    ServedSpan(&'a ServedSpan),
    OutageSpan(&'a OutageSpan),
}

pub(super) fn section(report: &Report) -> Markup {
    let mut sockets: BTreeMap<_, Vec<(Time, Span<'_>)>> = BTreeMap::new();
    for served in report.served.iter() {
        let spans = sockets.entry(order(&served.socket)).or_default();
        spans.push((served.from, Span::ServedSpan(served)));
    }
    for dark in report.outages.iter() {
        sockets.entry(order(&dark.socket)).or_default().push((dark.from, Span::OutageSpan(dark)));
    }
    for spans in sockets.values_mut() {
        spans.sort_by_key(|(from, _)| *from);
    }
    let left = report.served.left_out + report.outages.left_out;
    let empty = sockets.is_empty().then_some("Nobody served a port that matches.");
    let content = html! {
        @if left > 0 {
            p.note { (human::count(left, "older span")) " left out here: "
                code { "observer log --kind listen,release" } }
        }
        div.wide { table {
            caption { "Who served which port or path, and when nobody did" }
            thead { tr {
                @for column in ["socket", "served by", "unit", "from", "to", "for"] { th scope="col" { (column) } }
            } }
            @for ((.., name, netns), spans) in sockets {
                tbody { @for (n, (_, span)) in spans.iter().enumerate() {
                    tr class=[matches!(span, Span::OutageSpan(_)).then_some("outage")] {
                        @if n == 0 {
                            th scope="rowgroup" rowspan=(spans.len()) title=[netns.map(|n| format!("network namespace {n}"))] {
                                (name)
                            }
                        }
                        (cells(report, span))
                    }
                } }
            }
        } }
    };
    part("ports", "Port ownership", empty, &content)
}

/// By protocol, port and name.
fn order(of: &Socket) -> (Protocol, Option<u16>, String, Option<u32>) {
    (of.protocol, of.port, socket(of), of.netns)
}

fn cells(report: &Report, span: &Span<'_>) -> Markup {
    let mark = |time| report.clock.mark(time);
    let span_of = |from: Time, to: Time| human::span(to.0.duration_since(from.0).as_secs_f64());
    match span {
        Span::ServedSpan(served) => html! {
            td {
                b { (who(&served.process)) }
                @if let Some(last) = &served.last { ", held to the end by " (who_and_where(last)) }
                @if served.gaps > 0 { ", " (human::count(u64::from(served.gaps), "time")) " not watched in between" }
            }
            td { (place(&served.process)) }
            td { @if served.initial { "before " } (mark(served.from)) }
            td { (mark(served.to)) " " (end(served.end, "still serving")) }
            td.n { @if served.initial { "at least " } (span_of(served.from, served.to)) }
        },
        Span::OutageSpan(dark) => html! {
            td { strong { "nobody" }
                @if let Some(last) = &dark.last { ", after " (who_and_where(last)) } }
            td {}
            td { (mark(dark.from)) @if dark.late { " at the latest" } }
            td { (mark(dark.to)) " " (end(dark.end, "still not served")) }
            td.n { (span_of(dark.from, dark.to)) }
        },
    }
}

fn end(end: End, open: &str) -> Markup {
    html! { @match end {
        End::Seen => {}
        End::Open => { "(" (open) ")" }
        End::Unwatched => { "(not watched from then on)" }
    } }
}
