//! An event: the keys that every kind has, and the kinds.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BindEvent, ExitEvent, FloodEvent, IncidentEvent, ListenEvent, LossEvent, OomEvent,
    ReleaseEvent, SessionEvent, Time,
};

/// Version of the vocabulary.
pub const SCHEMA: u32 = 2;

/// An event: what happened, when, and on which machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Version of this vocabulary: 2.
    #[schemars(extend("const" = 2))]
    pub schema: u32,
    /// Number of the event in the store, the same wherever the event is seen. It grows by one; a gap is a loss. An event that
    /// is not stored has none: a death with code 0 or an event of a flood that only clients with `--all` see, an incident that
    /// still grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When it happened.
    pub time: Time,
    /// Boot id of the kernel (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Arc<str>,
    /// Host name.
    pub host: Arc<str>,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

impl Event {
    /// Its number, 0 if it has none: for order and identity, never to show.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.seq.unwrap_or(0)
    }
}

/// What happened, by `kind`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    /// A process's last thread ended.
    Exit(Arc<ExitEvent>),
    /// The kernel's OOM killer chose a victim.
    Oom(Box<OomEvent>),
    /// A bind or a listen failed.
    Bind(Arc<BindEvent>),
    /// A process began to serve a port.
    Listen(Box<ListenEvent>),
    /// The last holder of a served port is gone.
    Release(Box<ReleaseEvent>),
    /// Events joined into an incident.
    Incident(Box<IncidentEvent>),
    /// Events that were counted and not stored.
    Flood(Box<FloodEvent>),
    /// Records were lost.
    Loss(LossEvent),
    /// First event of every run and of every file.
    Session(Box<SessionEvent>),
}

/// Kinds of events, as filters name them.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Kind {
    /// Deaths.
    Exit,
    /// OOM kills.
    Oom,
    /// Refused binds and listens.
    Bind,
    /// New servers.
    Listen,
    /// Ports that nobody serves any more.
    Release,
    /// Incidents.
    Incident,
    /// Events that were counted and not stored.
    Flood,
    /// Lost records.
    Loss,
    /// Starts of runs and of files.
    Session,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Exit,
        Self::Oom,
        Self::Bind,
        Self::Listen,
        Self::Release,
        Self::Incident,
        Self::Flood,
        Self::Loss,
        Self::Session,
    ];

    /// Its name in JSON and in filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Oom => "oom",
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Release => "release",
            Self::Incident => "incident",
            Self::Flood => "flood",
            Self::Loss => "loss",
            Self::Session => "session",
        }
    }
}

impl Body {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Exit(_) => Kind::Exit,
            Self::Oom(_) => Kind::Oom,
            Self::Bind(_) => Kind::Bind,
            Self::Listen(_) => Kind::Listen,
            Self::Release(_) => Kind::Release,
            Self::Incident(_) => Kind::Incident,
            Self::Flood(_) => Kind::Flood,
            Self::Loss(_) => Kind::Loss,
            Self::Session(_) => Kind::Session,
        }
    }
}
