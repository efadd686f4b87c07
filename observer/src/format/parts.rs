//! What events of all kinds have in common, for formats with one set of columns.

use serde::Serialize;

use crate::model::{Body, Cause, Process, Socket};

/// Whom an event is about, and what happened.
pub(super) struct Parts<'a> {
    pub(super) process: Option<&'a Process>,
    pub(super) socket: Option<&'a Socket>,
    pub(super) cause: Option<&'a Cause>,
    /// One sentence.
    pub(super) summary: String,
}

impl<'a> Parts<'a> {
    pub(super) fn of(body: &'a Body) -> Self {
        let mut parts = Self { process: None, socket: None, cause: None, summary: String::new() };
        match body {
            Body::Exit(exit) => {
                parts.process = Some(&exit.process);
                parts.socket = exit.released.first();
                parts.cause = Some(&exit.cause);
                parts.summary = exit.cause.summary.to_string();
            }
            Body::Oom(oom) => {
                parts.process = Some(&oom.victim);
                parts.summary.clone_from(&oom.summary);
            }
            Body::Bind(bind) => {
                parts.process = Some(&bind.process);
                parts.socket = Some(&bind.socket);
                parts.cause = Some(&bind.cause);
                parts.summary = bind.cause.summary.to_string();
            }
            Body::Listen(listen) => {
                parts.process = Some(&listen.process);
                parts.socket = Some(&listen.socket);
                let begins = if listen.initial { "serves" } else { "began to serve" };
                parts.summary = format!("{begins} {}", listen.socket.name());
            }
            Body::Release(release) => {
                parts.process = release.process.as_ref();
                parts.socket = Some(&release.socket);
                parts.summary = format!("nobody serves {} any more", release.socket.name());
            }
            Body::Incident(incident) => {
                parts.socket = incident.sockets.first();
                parts.summary.clone_from(&incident.summary);
            }
            Body::Flood(flood) => {
                let by = match flood.by_cause() {
                    by if by.is_empty() => by,
                    by => format!(" ({by})"),
                };
                let (counted, whose) = (flood.counted(), flood.whose());
                parts.summary = format!("flood of {whose}: {counted} counted, not stored{by}");
            }
            Body::Loss(loss) => {
                let lost = loss.total();
                parts.summary = format!("{lost} records lost: {}", loss.reason);
            }
            Body::Session(session) => {
                parts.summary =
                    format!("observer {} started on Linux {}", session.version, session.kernel);
            }
        }
        parts
    }
}

/// A unit variant as JSON names it.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
