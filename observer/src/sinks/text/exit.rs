//! A death.

use super::layout::{Lines, command, who};
use crate::{
    model::{Cause, CauseType, Confidence, ExitEvent, Process, human},
    sinks::style::Severity,
};

pub(super) fn lines(lines: &mut Lines<'_>, exit: &ExitEvent) {
    let mut what = exit.cause.summary.clone();
    if exit.status.core_dumped == Some(true) {
        what.push_str(" (core dumped)");
    }
    lines.headline(&who(&exit.process), &what, severity(exit));
    process(lines, &exit.process);
    lines.detail("lived", &lived(exit));
    why(lines, &exit.cause);
}

fn severity(exit: &ExitEvent) -> Severity {
    match exit.cause.cause_type {
        CauseType::ExitCode if exit.status.code == Some(0) => Severity::Ordinary,
        CauseType::ExitCode | CauseType::Killed | CauseType::Pipe => Severity::Notable,
        _ => Severity::Bad,
    }
}

/// What it ran, and where.
pub(super) fn process(lines: &mut Lines<'_>, process: &Process) {
    match (command(process), process.exe.as_deref()) {
        (Some(command), _) => lines.detail("command", &command),
        (None, Some(exe)) => lines.detail("program", exe),
        (None, None) => {}
    }
    if process.unit.is_none()
        && let Some(cgroup) = process.cgroup.as_deref().filter(|cgroup| *cgroup != "/")
    {
        lines.detail("cgroup", cgroup);
    }
}

fn lived(exit: &ExitEvent) -> String {
    let mut text = human::span(exit.lifetime_seconds);
    let process = &exit.process;
    if let Some(user) = process.user.clone().or(process.uid.map(|uid| uid.to_string())) {
        text.push_str(&format!(" as {user}"));
    }
    if let Some(peak) = exit.peak_rss_bytes {
        text.push_str(&format!(", peak memory {}", human::size(peak)));
    }
    if let Some(parent) = &process.parent {
        text.push_str(&format!(", child of {} {}", parent.comm, parent.pid));
    }
    if let Some(ns_pid) = process.ns_pid {
        text.push_str(&format!(", pid {ns_pid} in its container"));
    }
    text.push_str(&format!("; a shell says {}", exit.status.shell_status));
    text
}

/// The evidence, and who sent the signal.
fn why(lines: &mut Lines<'_>, cause: &Cause) {
    if let Some(sender) = &cause.sender
        && let Some(command) = command(sender)
    {
        let parent = sender.parent.as_ref().map(|p| format!(", child of {} {}", p.comm, p.pid));
        lines.detail("sender", &format!("{command}{}", parent.unwrap_or_default()));
    }
    let plain = matches!(cause.cause_type, CauseType::Killed | CauseType::ExitCode);
    for evidence in &cause.evidence {
        // What the headline says already, or what a status word says again, helps nobody at 14:32.
        let said = evidence.starts_with("wait status")
            || (plain && evidence.contains("was generated while"));
        if !said {
            lines.detail("because", evidence);
        }
    }
    match cause.confidence {
        Confidence::Certain => {}
        Confidence::Likely => lines.detail("sure", "likely, not certain"),
        Confidence::Possible => lines.detail("sure", "no: one of several explanations"),
    }
}
