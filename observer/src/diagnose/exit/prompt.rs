//! The request to stop that came before a death.

use observer_common::signal::{ORIGIN_KERNEL, ORIGIN_TIMER};

use super::{Facts, Noted, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, seconds_between};
use crate::{
    diagnose::daemon,
    model::{
        Cause, Prompt,
        human::{self, who},
        signal_name,
    },
};

/// How long a request may lie back: systemd waits 90 s before it kills; a SIGHUP is often only a reload.
fn may_prompt(signal: u32, seconds: f64) -> bool {
    seconds <= if signal == SIGHUP { 10.0 } else { 100.0 }
}

/// Names the request that came before, in the cause.
pub(super) fn prompt(facts: Facts<'_>, signal: u32, cause: &mut Cause) {
    let own = |noted: &Noted| noted.note.sender_id() == facts.exit.task.id();
    let fatal = facts.fatal();
    let found = facts.notes.iter().find(|noted| {
        let record = &noted.note.record;
        matches!(record.signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM)
            // A handler often ends with the same signal to itself.
            && (record.signal != signal || fatal.is_some_and(own))
            && !own(noted)
            && !(signal == 0 && noted.note.ignored())
    });
    let Some(noted) = found else { return };
    // What counts for a killed process is the time before the fatal signal, which may be long before the end.
    let end = fatal.map_or(facts.exit.time_ns, |n| n.note.record.time_ns);
    if noted.note.record.time_ns > end {
        return;
    }
    let seconds = seconds_between(noted.note.record.time_ns, end);
    if !may_prompt(noted.note.record.signal, seconds) {
        return;
    }
    let name = signal_name(noted.note.record.signal);
    let by_kernel = matches!(noted.note.record.origin, ORIGIN_KERNEL | ORIGIN_TIMER);
    let from = if by_kernel { "the kernel".to_owned() } else { who(&noted.sender) };
    let ignored = if noted.note.ignored() { ", which it ignores" } else { "" };
    let before = human::span(seconds);
    if signal == 0 {
        // It was asked to: not quite by itself.
        cause.summary = cause.summary.replacen("ended by itself", "ended", 1).into();
    }
    cause.summary.to_mut().push_str(&match signal {
        0 => format!(", {before} after {name} from {from}"),
        _ if fatal.is_some_and(own) => format!(", {before} after {name} from {from}"),
        _ => format!(", {before} after {name}{ignored}"),
    });
    cause.evidence.push(format!("{name} from {from}{ignored}, {before} before").into());
    if !by_kernel && let Some((daemon, _)) = daemon::recognise(&noted.sender) {
        let daemon =
            format!("the sender of {name} is {daemon}, which kills processes to free memory");
        cause.evidence.push(daemon.into());
    }
    if signal == SIGKILL && seconds > 1.0 && noted.sender.pid == 1 {
        cause.remedy = Some(
            "TimeoutStopSec= of its unit sets how long systemd waits before SIGKILL".to_owned(),
        );
    }
    cause.prompted_by = Some(Box::new(Prompt {
        signal: noted.note.record.signal,
        signal_name: name,
        sender: (!by_kernel).then(|| noted.sender.clone()),
        seconds,
        ignored: noted.note.ignored(),
    }));
}
