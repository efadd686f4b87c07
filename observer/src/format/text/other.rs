//! Beginnings, floods and losses.

use super::layout::Lines;
use crate::{
    format::style::Severity,
    model::{FloodEvent, LossEvent, SessionEvent},
};

pub(super) fn session(lines: &mut Lines<'_>, session: &SessionEvent, host: &str) {
    let attached = session.hooks.iter().filter(|hook| hook.attached).count();
    let what = format!(
        "observing {host}: Linux {}, {attached} eBPF programs, observer {}",
        session.kernel, session.version
    );
    lines.headline("", &what, Severity::Ordinary);
    if let Some(since) = session.since.filter(|_| session.resumed) {
        lines.detail(
            "resumed",
            &format!("nothing was missed since {}, but for what is LOST", lines.clock(since)),
        );
    }
    let refused = session.hooks.len() - attached;
    if refused > 0 {
        let programs =
            if refused == 1 { "1 program is" } else { &format!("{refused} programs are") };
        lines.detail(
            "without",
            &format!("{programs} refused by this kernel; `observer doctor` says what that costs"),
        );
    }
}

pub(super) fn flood(lines: &mut Lines<'_>, flood: &FloodEvent) {
    let what = format!("FLOOD: {} counted, not stored one by one", flood.counted());
    lines.headline(&flood.whose(), &what, Severity::Bad);
    let by_cause = flood.by_cause();
    if !by_cause.is_empty() {
        lines.detail("causes", &by_cause);
    }
    if let Some(cgroup) = &flood.cgroup {
        lines.detail("cgroup", cgroup);
    }
    lines.detail("between", &format!("{} and {}", lines.clock(flood.from), lines.clock(flood.to)));
    if let Some(example) = flood.example {
        lines.detail("like", &format!("#{example}, the last one that was stored"));
    }
}

pub(super) fn loss(lines: &mut Lines<'_>, loss: &LossEvent) {
    let total = loss.total();
    let counts: Vec<String> =
        loss.lost.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let most = if loss.at_most { "at most " } else { "" };
    let records = if total == 1 { "record" } else { "records" };
    let what = format!("LOST {most}{} {records}", counts.join(", "));
    lines.headline("", &what, Severity::Bad);
    lines.detail("because", &loss.reason);
    lines.detail("between", &format!("{} and {}", lines.clock(loss.from), lines.clock(loss.to)));
}
