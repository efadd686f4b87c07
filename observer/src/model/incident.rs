//! Kind `incident`: events joined by cause, unit and port.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Socket, Time};

/// Events joined into an incident: what died, which port had an outage, who was refused, who holds the port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentEvent {
    /// What it is about: `tcp:8080`, `/run/php/fpm.sock`, `shop.service`, `pid:2211`.
    pub subject: String,
    /// The incident in one line.
    pub summary: String,
    /// When its first event happened.
    pub from: Time,
    /// When its last event happened, so far.
    pub to: Time,
    /// It may still grow: an outage lasts, or its last event is recent.
    pub open: bool,
    /// How long nobody served the port or path that it is about, up to now if nobody does yet. Absent if not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage_seconds: Option<f64>,
    /// `seq` of its events, by time.
    pub events: Vec<u64>,
    /// What happened, sentence by sentence, with the evidence of each.
    pub sentences: Vec<Sentence>,
    /// What could not be learnt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Ports and paths that it concerns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<Socket>,
    /// Units that it concerns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    /// Process ids that it concerns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
}

/// A sentence of an incident, and its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// When that happened.
    pub time: Time,
    /// `seq` of the events that it is based on.
    pub events: Vec<u64>,
}
