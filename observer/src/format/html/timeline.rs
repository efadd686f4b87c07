//! Deaths, OOM kills, refusals and outages on one axis, as SVG.

mod axis;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use maud::{Markup, html};

use super::{
    Report,
    density::{Density, Place},
    table::section as part,
    words::{socket, who_and_where},
};
use crate::{
    diagnose::incident::ownership::{End, OutageSpan},
    model::{Time, human},
};
use axis::{Axis, GUTTER, WIDTH};

/// Height of a lane.
const LANE: f64 = 34.0;
/// Marks that are closer than this become one.
const NEAR: f64 = 7.0;
/// Most ports that have a lane.
const PORTS: usize = 16;
/// Most bars of a lane.
const BARS: usize = 200;

pub(super) fn section(report: &Report, ids: &HashSet<u64>) -> Markup {
    let names = ["deaths", "OOM kills", "refused binds"];
    let (lanes, left) = outage_lanes(report);
    let axis = span(report).map(|(from, to)| Axis::new(from, to));
    let Some(axis) = axis else {
        return part("timeline", "Timeline", Some("Nothing to draw."), &html! {});
    };
    let rows = names.len() + lanes.len();
    let bottom = (0..rows).fold(12.0, |y, _| y + LANE);
    let height = bottom + 30.0;
    let content = html! {
        div.wide {
            svg viewBox={ "0 0 " (WIDTH) " " (height) } role="group" aria-label="Timeline of deaths, OOM kills, refused binds and outages" {
                (axis.markup(report, bottom))
                @for (n, (name, density)) in names.into_iter().zip(&report.marks).enumerate() {
                    (lane(name, y(n)))
                    @for (x, place) in gathered(&axis, density) { (mark(report, n, x, y(n), &place, ids)) }
                }
                @for (n, (name, bars)) in lanes.iter().enumerate() {
                    (lane(&format!("{name} outage"), y(names.len() + n)))
                    @for dark in bars { (bar(report, &axis, dark, y(names.len() + n))) }
                }
            }
        }
        p.note {
            "A mark leads to its row; a larger one stands for many. A bar is an outage: nobody served that port or path."
            @if left > 0 { " " (human::count(left, "more socket")) " had shorter outages: see "
                a href="#ports" { "port ownership" } "." }
        }
    };
    part("timeline", "Timeline", None, &content)
}

fn y(lane: usize) -> f64 {
    (0..lane).fold(12.0 + LANE / 2.0, |y, _| y + LANE)
}

/// From the first to the last of what is drawn, within what was asked for.
fn span(report: &Report) -> Option<(Time, Time)> {
    let (first, last) = report.span?;
    let (since, until) = report.asked;
    let opened = report.outages.iter().map(|dark| dark.to).max();
    let last = opened.map_or(last, |opened| opened.max(last));
    let last = until.map_or(last, |until| last.min(Time(until)));
    let first = since.map_or(first, |since| first.max(Time(since)));
    Some((first, last.max(first)))
}

/// The sockets with the longest outages, by their names, and how many others there are.
fn outage_lanes(report: &Report) -> (Vec<(String, Vec<&OutageSpan>)>, u64) {
    let mut sockets: BTreeMap<(String, Option<u32>), Vec<&OutageSpan>> = BTreeMap::new();
    for dark in report.outages.iter() {
        sockets.entry((socket(&dark.socket), dark.socket.netns)).or_default().push(dark);
    }
    let length = |dark: &&OutageSpan| dark.to.0.duration_since(dark.from.0);
    let mut lanes: Vec<_> = sockets.into_iter().map(|((name, _), bars)| (name, bars)).collect();
    for (_, bars) in &mut lanes {
        bars.sort_by_key(|dark| Reverse(length(dark)));
        bars.truncate(BARS);
    }
    lanes.sort_by_key(|(_, bars)| Reverse(bars.first().map(length)));
    let left = lanes.len().saturating_sub(PORTS) as u64;
    lanes.truncate(PORTS);
    lanes.sort_by(|a, b| a.0.cmp(&b.0));
    (lanes, left)
}

fn lane(name: &str, y: f64) -> Markup {
    const LONGEST: usize = 26;
    let short: String = match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    html! {
        text.lane x=(GUTTER - 10.0) y=(y + 4.0) text-anchor="end" { (short) @if short != name { title { (name) } } }
        line.lane x1=(GUTTER) x2=(WIDTH) y1=(y) y2=(y) {}
    }
}

/// Marks that don't hide each other.
fn gathered(axis: &Axis, density: &Density) -> Vec<(f64, Place)> {
    let mut marks: Vec<(f64, Place)> = Vec::new();
    for place in density.places() {
        let x = axis.x(place.time);
        match marks.last_mut() {
            Some((last, known)) if x - *last < NEAR => known.count += place.count,
            _ => marks.push((x, place.clone())),
        }
    }
    marks
}

fn mark(report: &Report, kind: usize, x: f64, y: f64, place: &Place, ids: &HashSet<u64>) -> Markup {
    let r = match place.count {
        1 => 4.0,
        2..10 => 5.5,
        10..100 => 7.0,
        _ => 8.5,
    };
    let others = match place.count {
        1 => String::new(),
        n => format!(" and {} close by", human::count(n - 1, "other")),
    };
    let shape = html! {
        title { (report.clock.date(place.time)) " " (place.label) (others) }
        @match kind {
            0 => { circle.death cx=(axis::pixels(x)) cy=(y) r=(r) {} }
            1 => { path.oom d=(outline(x, y, &[(0.0, -r * 1.3), (r * 1.3, 0.0), (0.0, r * 1.3), (-r * 1.3, 0.0)])) {} }
            _ => { path.refusal d=(outline(x, y, &[(0.0, -r * 1.2), (r * 1.2, r), (-r * 1.2, r)])) {} }
        }
    };
    html! {
        @if ids.contains(&place.seq) { a href={ "#e" (place.seq) } { (shape) } } @else { g { (shape) } }
    }
}

fn outline(x: f64, y: f64, corners: &[(f64, f64)]) -> String {
    let points = corners.iter().map(|(dx, dy)| format!("{:.1} {:.1}", x + dx, y + dy));
    format!("M{}Z", points.collect::<Vec<_>>().join("L"))
}

fn bar(report: &Report, axis: &Axis, dark: &OutageSpan, y: f64) -> Markup {
    let (from, to) = (axis.x(dark.from), axis.x(dark.to));
    let seconds = dark.to.0.duration_since(dark.from.0).as_secs_f64();
    let after = dark.last.as_ref().map(|last| format!(", after {}", who_and_where(last)));
    let end = match dark.end {
        End::Seen => "",
        End::Open => ", and still",
        End::Unwatched => ", then not watched",
    };
    html! {
        rect.outage x=(axis::pixels(from)) y=(y - 7.0) width=(axis::pixels((to - from).max(2.0))) height="14" {
            title { "nobody served " (socket(&dark.socket)) " for " (human::span(seconds)) " from "
                (report.clock.date(dark.from)) (after.unwrap_or_default()) (end) }
        }
    }
}
