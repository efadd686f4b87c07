//! Kinds `session` and `loss`: how the events were captured, and what is missing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;

/// First event of every run and of every file: the version, the kernel, the hooks and the clock.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionEvent {
    /// Version of observer.
    pub version: String,
    /// Release of the kernel.
    pub kernel: String,
    /// The programs, and where they attach.
    pub hooks: Vec<HookInfo>,
    /// How times are made.
    pub clock: ClockInfo,
    /// The end of the run before, if the store has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// The programs of the run before went on in between, and their records were read: nothing is missing but what the `loss`
    /// events that follow say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// When the run before had read its records last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl SessionEvent {
    /// Whether it is the first event of a run, and not only of another file of the same run.
    #[must_use]
    pub fn begins_run(&self, seq: u64) -> bool {
        seq <= 1 || self.after.is_some()
    }
}

/// The end of the run before in the same store: observer saw nothing between then and now, unless it is `resumed`.
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
    /// Whether it is attached.
    pub attached: bool,
    /// Why the kernel refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How times are made: the kernel stamps events with the time since boot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClockInfo {
    /// `CLOCK_BOOTTIME`.
    pub source: String,
    /// Time of boot, by the time of day as set when the session began.
    pub boot_time: Time,
}

/// Events were lost.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LossEvent {
    /// How many, by kind.
    pub lost: BTreeMap<String, u64>,
    /// Nothing was lost before this time.
    pub from: Time,
    /// Nothing was lost after this time, so far.
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
