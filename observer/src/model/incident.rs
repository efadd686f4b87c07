//! Kind `incident`: events joined into a story.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Socket, Time};

/// Events joined into a story: what died, what went dark, who tried to come back, who is in the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentEvent {
    /// What it is about: `tcp:8080`, `/run/php/fpm.sock`, `shop.service`, `pid:2211`.
    pub subject: String,
    /// The story in a line.
    pub summary: String,
    /// When its first event happened.
    pub from: Time,
    /// When its last event happened, so far.
    pub to: Time,
    /// It may still grow: something is not served yet, or its last event was a moment ago.
    pub open: bool,
    /// How long nobody served the port or path that it is about; up to now while nobody does. Left out when no such
    /// time is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage_seconds: Option<f64>,
    /// `seq` of the events that tell it, by time.
    pub events: Vec<u64>,
    /// The story, a sentence each, with its evidence.
    pub sentences: Vec<Sentence>,
    /// What it does not know.
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

/// A sentence of a story, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// When that happened.
    pub time: Time,
    /// `seq` of the events that say so.
    pub events: Vec<u64>,
}
