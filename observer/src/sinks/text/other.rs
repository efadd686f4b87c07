//! Beginnings and losses.

use super::layout::Lines;
use crate::{
    model::{LossEvent, SessionEvent},
    sinks::style::Severity,
};

pub(super) fn session(lines: &mut Lines<'_>, session: &SessionEvent, host: &str) {
    let attached = session.hooks.iter().filter(|hook| hook.attached).count();
    let what = format!(
        "observing {host}: Linux {}, {attached} eBPF programs, observer {}",
        session.kernel, session.version
    );
    lines.headline("", &what, Severity::Ordinary);
}

pub(super) fn loss(lines: &mut Lines<'_>, loss: &LossEvent) {
    let counts: Vec<String> =
        loss.lost.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let most = if loss.at_most { "at most " } else { "" };
    let what = format!("LOST {most}{} records: {}", counts.join(", "), loss.reason);
    lines.headline("", &what, Severity::Bad);
}
