//! Kinds `session` and `loss`: what a reader must know of the record itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;

/// First record of every run and of every file: everything that is needed to read the rest.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionEvent {
    /// Version of observer.
    pub version: String,
    /// Release of the kernel.
    pub kernel: String,
    /// The programs, and where they are attached.
    pub hooks: Vec<HookInfo>,
    /// How times were made.
    pub clock: ClockInfo,
    /// What the record had before, when this session goes on with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
}

impl SessionEvent {
    /// Whether a run of observer begins with it, not only another file of the same run.
    #[must_use]
    pub fn begins_run(&self, seq: u64) -> bool {
        seq <= 1 || self.after.is_some()
    }
}

/// The end of the session before in the same record: nothing was seen between then and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct After {
    /// Number of its last event.
    pub seq: u64,
    /// Time of its last event.
    pub time: Time,
    /// It was stopped; otherwise it was killed, or the machine went down.
    pub stopped: bool,
}

/// One eBPF program.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HookInfo {
    /// Its name.
    pub program: String,
    /// Where it is attached, such as `tp_btf/sched_process_exit`.
    pub hook: String,
    /// Whether it is.
    pub attached: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How times were made: the kernel stamps events with the time since boot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClockInfo {
    /// `CLOCK_BOOTTIME`.
    pub source: String,
    /// The moment of boot by the time of day, as it was when the session began.
    pub boot_time: Time,
}

/// Records were lost.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LossEvent {
    /// How many, by kind.
    pub lost: BTreeMap<String, u64>,
    /// Nothing was lost before this moment.
    pub from: Time,
    /// Nor, so far, after this one.
    pub to: Time,
    /// Why they were lost.
    pub reason: String,
    /// The counts are upper bounds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_most: bool,
}

impl LossEvent {
    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lost.values().copied().fold(0, u64::saturating_add)
    }
}
