//! A death.

use super::layout::{Lines, command, who};
use crate::{
    format::style::Severity,
    model::{Cause, CauseType, Confidence, ExitEvent, Process, human},
};

pub(super) fn lines(lines: &mut Lines<'_>, exit: &ExitEvent) {
    let mut what = beside(&exit.process, &exit.cause.summary);
    if exit.status.core_dumped == Some(true) {
        what.push_str(" (core dumped)");
    }
    lines.headline(&who(&exit.process), &what, severity(exit));
    process(lines, &exit.process);
    lines.detail("lived", &lived(exit));
    why(lines, exit);
}

/// Without the unit of processes that live in the same one: the headline begins with it.
fn beside(process: &Process, text: &str) -> String {
    match process.place() {
        Some(place) => text.replace(&format!(" ({place})"), ""),
        None => text.to_owned(),
    }
}

fn severity(exit: &ExitEvent) -> Severity {
    use CauseType as C;
    match exit.cause.cause_type {
        C::ExitCode if exit.status.code == Some(0) => Severity::Ordinary,
        _ if exit.status.core_dumped == Some(true) => Severity::Bad,
        C::ExitCode | C::Killed | C::Pipe | C::Kernel | C::Unknown => Severity::Notable,
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
    match (&process.user, process.uid) {
        (Some(user), _) => text.push_str(&format!(" as {user}")),
        (None, Some(uid)) => text.push_str(&format!(" as user {uid}")),
        (None, None) => {}
    }
    if let Some(peak) = exit.peak_rss_bytes {
        text.push_str(&format!(", peak {}", human::size(peak)));
    }
    if let Some(parent) = &process.parent {
        text.push_str(&format!(", child of {} {}", parent.comm, parent.pid));
    }
    if let Some(ns_pid) = process.ns_pid {
        text.push_str(&format!(", pid {ns_pid} in its pid namespace"));
    }
    if exit.status.signal.is_some() {
        // What the supervisor's log calls it.
        text.push_str(&format!("; exit status {}", exit.status.shell_status));
    }
    text
}

/// What the headline does not say yet: more of the sender, of the evidence, of how sure that is.
fn why(lines: &mut Lines<'_>, exit: &ExitEvent) {
    let cause = &exit.cause;
    if let Some(sender) =
        cause.sender.as_deref().filter(|sender| sender.pid != exit.process.pid && sender.pid != 1)
        && let Some(command) = command(sender)
    {
        let parent = sender.parent.as_ref().map(|p| format!(", child of {} {}", p.comm, p.pid));
        lines.detail("sender", &format!("{command}{}", parent.unwrap_or_default()));
    }
    for evidence in cause.evidence.iter().filter(|evidence| is_news(cause, evidence)) {
        lines.detail("because", &beside(&exit.process, evidence));
    }
    match cause.confidence {
        Confidence::Certain => {}
        Confidence::Likely => lines.detail("sure", "likely, not certain"),
        Confidence::Possible => lines.detail("sure", "no: this is one of several explanations"),
    }
    if let Some(remedy) = &cause.remedy {
        lines.detail("do", remedy);
    }
}

/// Whether a line of evidence says more than the headline.
fn is_news(cause: &Cause, evidence: &str) -> bool {
    use CauseType as C;
    let prompt = cause.prompted_by.as_ref().is_some_and(|prompt| {
        let killer = cause.sender.as_ref().map(|sender| sender.pid);
        let same = killer == prompt.sender.as_ref().map(|sender| sender.pid);
        (same || cause.cause_type == C::ExitCode)
            && evidence.starts_with(&format!("{} from ", prompt.signal_name))
    });
    let said = match cause.cause_type {
        C::ExitCode => evidence.starts_with("wait status"),
        C::Killed => {
            evidence.contains("was generated while") || evidence.starts_with("sender and target")
        }
        C::OomKill => evidence.starts_with("the kernel chose victim"),
        C::Fault | C::Pipe => true,
        C::Seccomp | C::ResourceLimit => cause.confidence == Confidence::Certain,
        C::Kernel => {
            cause.confidence == Confidence::Certain && evidence.starts_with("the kernel sent")
        }
        _ => false,
    };
    !said && !prompt
}
