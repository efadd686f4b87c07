//! Kind `exit`: a process ended.

use std::{borrow::Cow, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Missing, Process, Shape, Socket, signal_name};

/// A process's last thread ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExitEvent {
    /// Who died.
    pub process: Process,
    /// How, as wait(2) reports it.
    pub status: ExitStatus,
    /// How long it lived.
    pub lifetime_seconds: f64,
    /// Peak resident memory, shared pages included; the kernel's counters lag by up to 128 KiB a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Sockets it served that nobody serves now, including those it closed itself as it ended: at most 256, those whose port it
    /// chose first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Socket>,
    /// How many entries `released` would have if it had all; absent where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_total: Option<u64>,
    /// Why.
    pub cause: Arc<Cause>,
    /// Why a key is not here.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
    /// What it has in common with others; `None`: it may differ from every other in anything. Whoever changes more than the
    /// numbers must take it away. Not in events.
    #[serde(skip)]
    pub shape: Option<Shape>,
}

/// A wait status: either `code`, or the signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitStatus {
    /// Exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// Number of the signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u32>,
    /// That signal's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_name: Option<Cow<'static, str>>,
    /// Whether a core was dumped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_dumped: Option<bool>,
    /// The status as shells and most supervisors show it: the code, or 128 plus the signal.
    pub shell_status: u32,
}

impl ExitStatus {
    /// From wait(2)'s status word.
    #[must_use]
    pub fn from_wait(status: u32) -> Self {
        let signal = status & 0x7f;
        if signal == 0 {
            let code = (status >> 8) & 0xff;
            return Self {
                code: Some(code),
                signal: None,
                signal_name: None,
                core_dumped: None,
                shell_status: code,
            };
        }
        Self {
            code: None,
            signal: Some(signal),
            signal_name: Some(signal_name(signal)),
            core_dumped: Some(status & 0x80 != 0),
            shell_status: 128 + signal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExitStatus;

    #[test]
    fn killed_is_not_exit_137() {
        let killed = ExitStatus::from_wait(9);
        assert_eq!((killed.signal, killed.code, killed.shell_status), (Some(9), None, 137));
        let exited = ExitStatus::from_wait(0x8900);
        assert_eq!((exited.signal, exited.code, exited.shell_status), (None, Some(137), 137));
        assert_eq!(ExitStatus::from_wait(0x8b).core_dumped, Some(true));
    }
}
