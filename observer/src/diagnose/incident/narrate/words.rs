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
const VERBS: [&str; 10] = [
    "ended ",
    "used ",
    "aborted ",
    "wrote ",
    "sent ",
    "divided ",
    "calculated ",
    "ran ",
    "had ",
    "did ",
];

/// `was killed by …`, `ended by itself …`; or `: ` and the cause, where that is no verb.
pub(super) fn how(exit: &ExitEvent) -> String {
    let summary = &exit.cause.summary;
    // Whoever is named in the cause and lives in the same unit: the sentence says the unit already.
    let summary = match exit.process.place() {
        Some(place) => summary.replace(&format!(" ({place})"), "").into(),
        None => summary.clone(),
    };
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

/// How sure a cause is, when it is not certain.
pub(super) fn sure(cause: &Cause) -> &'static str {
    match cause.confidence {
        Confidence::Certain => "",
        Confidence::Likely => " (likely)",
        Confidence::Possible => " (one of several explanations)",
    }
}

/// `node 1954`: without the unit, for whoever is named beside others.
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
