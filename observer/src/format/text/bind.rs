//! A refusal: who, which port, why; then one line a holder; then what would free it.

use super::{
    exit::process,
    layout::{Lines, command, who},
};
use crate::{
    format::style::Severity,
    model::{BindEvent, Call, Confidence, Holder, ListenEvent, ReleaseEvent, human},
};

pub(super) fn bind(lines: &mut Lines<'_>, bind: &BindEvent) {
    let call = match bind.call {
        Call::Bind => "bind",
        Call::Listen => "listen on",
    };
    let errno = &bind.error.name;
    let what = format!("could not {call} {} ({errno}): {}", bind.socket.name(), bind.cause.summary);
    lines.headline(&who(&bind.process), &what, Severity::Notable);
    if let Some(error) = as_logged(errno) {
        lines.detail("error", error);
    }
    process(lines, &bind.process);
    if let Some(repeats) = bind.repeats {
        let more = human::count(repeats, "more time");
        lines.detail("again", &format!("refused {more} since the last line about it"));
    }
    for shown in &bind.holders {
        lines.detail("holder", &holder(shown, lines.now()));
    }
    let more = bind.all_holders() - bind.holders.len() as u64;
    if more > 0 {
        lines.detail("", &format!("and {}", human::count(more, "more holder")));
    }
    // The headline and the holders say the rest.
    let answered = format!("the kernel answered {errno}");
    for evidence in &bind.cause.evidence {
        if !evidence.ends_with(" in the way") && *evidence != answered {
            lines.detail("because", evidence);
        }
    }
    if bind.cause.confidence != Confidence::Certain {
        lines.detail("sure", "not certain: the best explanation of what was found");
    }
    if let Some(remedy) = &bind.cause.remedy {
        lines.detail("do", remedy);
    }
}

/// What strerror(3) says, and so the log of the program that was refused.
fn as_logged(errno: &str) -> Option<&'static str> {
    match errno {
        "EADDRINUSE" => Some("Address already in use"),
        "EADDRNOTAVAIL" => Some("Cannot assign requested address"),
        "EACCES" => Some("Permission denied"),
        "EPERM" => Some("Operation not permitted"),
        "EINVAL" => Some("Invalid argument"),
        _ => None,
    }
}

/// Pid, unit, arguments, age, descriptor and relation of a holder, in a line.
fn holder(holder: &Holder, now: jiff::Timestamp) -> String {
    let process = &holder.process;
    let mut text = who(process);
    let relation = holder.relation.words();
    if !relation.is_empty() {
        text.push_str(&format!(", {relation}"));
    }
    if let Some(command) = command(process) {
        text.push_str(&format!(": {command}"));
    }
    text.push_str(&format!("; {}", holder.socket.name()));
    if let Some(fd) = holder.fd {
        text.push_str(&format!(" on fd {fd}"));
    }
    if holder.inherited == Some(true) {
        text.push_str(", inherited");
    }
    let seconds = |time: &crate::model::Time| now.duration_since(time.0).as_secs_f64();
    match (&holder.since, &process.start_time) {
        (Some(since), _) => text.push_str(&format!(", for {}", human::span(seconds(since)))),
        (None, Some(start)) => {
            text.push_str(&format!(", running for {}", human::span(seconds(start))));
        }
        (None, None) => {}
    }
    text
}

pub(super) fn listen(lines: &mut Lines<'_>, listen: &ListenEvent) {
    let already = if listen.initial { " already" } else { "" };
    let what = format!("serves {}{already}", listen.socket.name());
    lines.headline(&who(&listen.process), &what, Severity::Ordinary);
}

pub(super) fn release(lines: &mut Lines<'_>, release: &ReleaseEvent) {
    let served = match release.served_seconds {
        Some(seconds) => format!(" (served for {})", human::span(seconds)),
        None => String::new(),
    };
    let what = format!("nobody serves {} any more{served}", release.socket.name());
    let name = release.process.as_ref().map(who).unwrap_or_default();
    lines.headline(&name, &what, Severity::Notable);
}
