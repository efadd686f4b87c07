//! Kind `flood`: more events of one kind from one origin than they are worth one by one.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CauseType, Kind, Missing, Time};

/// Events of one kind and one origin that were counted and not stored. The first ones of a flood are stored in full, and so is
/// its last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FloodEvent {
    /// Kind of the events that are counted.
    pub of: Kind,
    /// The innermost cgroup that all of them were in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The unit of the system's manager that all of them were in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Arc<str>>,
    /// The container that all of them were in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    /// Their user; of processes in a user namespace, whoever owns the outermost one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// That user's name on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// How many there were since the `flood` event before, or since the flood began: each is counted once, and with a refusal those
    /// that it stands for (`repeats`).
    pub count: u64,
    /// How many of each type of cause; absent for kinds that have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub causes: BTreeMap<CauseType, u64>,
    /// When the first of them happened.
    pub from: Time,
    /// When the last of them happened.
    pub to: Time,
    /// `seq` of the last event of this origin that was stored in full before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<u64>,
    /// Why a key is not here.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
}

impl FloodEvent {
    /// `980000 exit_code, 12 killed`: how many of each cause, most first; empty for kinds without causes.
    #[must_use]
    pub fn by_cause(&self) -> String {
        let mut causes: Vec<_> = self.causes.iter().collect();
        causes.sort_by_key(|(cause, count)| (std::cmp::Reverse(**count), **cause));
        let words = causes.iter().map(|(cause, count)| format!("{count} {}", cause.name()));
        words.collect::<Vec<_>>().join(", ")
    }

    /// `980000 deaths`.
    #[must_use]
    pub fn counted(&self) -> String {
        let (one, many) = match self.of {
            Kind::Exit => ("death", "deaths"),
            Kind::Bind => ("refused bind", "refused binds"),
            Kind::Listen => ("new server", "new servers"),
            Kind::Release => ("released socket", "released sockets"),
            _ => ("event", "events"),
        };
        format!("{} {}", self.count, if self.count == 1 { one } else { many })
    }

    /// `user eve, shop.service`: whose they were, as far as that is known.
    #[must_use]
    pub fn whose(&self) -> String {
        let user = self.user.as_deref().map(str::to_owned);
        let user = user.or(self.uid.map(|uid| uid.to_string())).map(|user| format!("user {user}"));
        let place = self.unit.as_deref().or(self.container.as_deref()).map(str::to_owned);
        let place = place.or_else(|| self.cgroup.clone());
        let parts: Vec<String> = user.into_iter().chain(place).collect();
        if parts.is_empty() { "an unknown origin".to_owned() } else { parts.join(", ") }
    }
}
