//! Words that several sentences share.

use crate::model::{
    Cause, Confidence, ExitEvent, Process, Socket,
    human::{self, who},
};

/// `node 2211 (shop.service) was killed by …`: a death in words.
pub(super) fn death(exit: &ExitEvent) -> String {
    let how = how(exit);
    format!("{}{}{how}", who(&exit.process), if how.starts_with(':') { "" } else { " " })
}

/// How the summaries of causes begin that need no `was`.
const VERBS: [&str; 11] = [
    "ended ",
    "dereferenced ",
    "accessed ",
    "used ",
    "aborted ",
    "wrote ",
    "sent ",
    "divided ",
    "hit ",
    "executed ",
    "caused ",
];

/// `was killed by …`, `ended by itself …`; or `: ` and the cause, where that is no verb.
pub(super) fn how(exit: &ExitEvent) -> String {
    let summary = &exit.cause.summary;
    // Whoever is named in the cause and lives in the same unit: the sentence says the unit already.
    let summary = match exit.process.place() {
        Some(place) => summary.replace(&format!(" ({place})"), "").into(),
        None => summary.clone(),
    };
    let summary = with_exit_status(&summary, exit);
    let sure = sure(&exit.cause);
    let begins = |verbs: &[&str]| verbs.iter().any(|verb| summary.starts_with(verb));
    if begins(&["killed "]) {
        format!("was {summary}{sure}")
    } else if begins(&VERBS) {
        format!("{summary}{sure}")
    } else {
        format!(": {summary}{sure}")
    }
}

/// Puts the number that supervisors and shells print beside the signal: `SIGKILL (exit 137)`.
fn with_exit_status(summary: &str, exit: &ExitEvent) -> String {
    const OOM: &str = "killed by the kernel's OOM killer";
    let Some(signal) = exit.status.signal_name.as_deref() else { return summary.to_owned() };
    let number = format!("exit {}", exit.status.shell_status);
    // Names that a process chose come after the signal's: the first match is ours.
    let found = if summary.starts_with(OOM) {
        Some((0, OOM.len()))
    } else {
        summary.find(signal).map(|at| (at, at + signal.len()))
    };
    let Some((at, end)) = found else { return format!("{summary} ({number})") };
    let (before, after) = summary.split_at(end);
    match (before[..at].ends_with('('), after.starts_with(')')) {
        (true, true) => format!("{before}, {number}{after}"),
        (true, false) => format!("{before}, {number},{after}"),
        (false, _) => format!("{before} ({number}){after}"),
    }
}

/// How sure a cause is, when it is not certain.
pub(super) fn sure(cause: &Cause) -> &'static str {
    match cause.confidence {
        Confidence::Certain => "",
        Confidence::Likely => " (likely)",
        Confidence::Possible => " (one of several explanations)",
    }
}

/// `node 1954`: without the unit.
pub(super) fn short(process: &Process) -> String {
    format!("{} {}", process.comm.as_deref().unwrap_or("?"), process.pid)
}

/// `tcp:8080`, or the path: as one would ask for it.
pub(super) fn asked(socket: &Socket) -> Option<String> {
    use crate::model::Protocol as P;
    match (&socket.path, socket.port, socket.protocol) {
        (Some(path), ..) => Some(path.clone()),
        (None, Some(port), P::Udp) => Some(format!("udp:{port}")),
        (None, Some(port), P::Tcp) => Some(format!("tcp:{port}")),
        (None, Some(port), _) => Some(format!(":{port}")),
        (None, None, _) => None,
    }
}

/// `1 time`, `4 times`.
pub(super) fn times(count: u64) -> String {
    human::count(count, "time")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ExitEvent, death};

    fn narrated(summary: &str, signal: (u32, &str)) -> String {
        let exit = json!({
            "process": {"pid": 7, "comm": "node"}, "lifetime_seconds": 1.0,
            "status": {"signal": signal.0, "signal_name": signal.1, "shell_status": 128 + signal.0},
            "cause": {"type": "killed", "summary": summary, "evidence": [], "confidence": "certain"},
        });
        let exit: ExitEvent = serde_json::from_value(exit).expect("an exit");
        death(&exit)
    }

    #[test]
    fn a_death_by_signal_says_the_exit_status() {
        let (kill, term) = ((9, "SIGKILL"), (15, "SIGTERM"));
        for (summary, signal, sentence) in [
            (
                "killed by the kernel's OOM killer: a.service reached its memory limit",
                kill,
                "node 7 was killed by the kernel's OOM killer (exit 137): a.service reached its memory limit",
            ),
            (
                "killed by SIGTERM from systemd 1",
                term,
                "node 7 was killed by SIGTERM (exit 143) from systemd 1",
            ),
            (
                "killed by SIGKILL from SIGKILL 9, 2.0 s after SIGTERM",
                kill,
                "node 7 was killed by SIGKILL (exit 137) from SIGKILL 9, 2.0 s after SIGTERM",
            ),
            (
                "killed by earlyoom to free memory (SIGKILL from earlyoom 9)",
                kill,
                "node 7 was killed by earlyoom to free memory (SIGKILL, exit 137, from earlyoom 9)",
            ),
            (
                "aborted itself (SIGABRT)",
                (6, "SIGABRT"),
                "node 7 aborted itself (SIGABRT, exit 134)",
            ),
            (
                "dereferenced a null pointer: SIGSEGV, SEGV_MAPERR at 0x0",
                (11, "SIGSEGV"),
                "node 7 dereferenced a null pointer: SIGSEGV (exit 139), SEGV_MAPERR at 0x0",
            ),
            (
                "killed by the kernel itself",
                kill,
                "node 7 was killed by the kernel itself (exit 137)",
            ),
        ] {
            assert_eq!(narrated(summary, signal), sentence);
        }
    }
}
