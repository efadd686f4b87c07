//! Causes: why a process died, or why a bind failed, with evidence and confidence.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Missing, Process};

/// A cause with its evidence. Keys of other types are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// What kind of cause it is.
    #[serde(rename = "type")]
    pub cause_type: CauseType,
    /// One sentence for a person.
    pub summary: Cow<'static, str>,
    /// What the kernel reported, one fact a line.
    pub evidence: Vec<Cow<'static, str>>,
    /// How certain the evidence makes it.
    pub confidence: Confidence,
    /// Who sent the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Box<Process>>,
    /// The request to stop that came before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompted_by: Option<Box<Prompt>>,
    /// `seq` of the `oom` event that this death belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_seq: Option<u64>,
    /// The cgroup whose memory limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_cgroup: Option<String>,
    /// That limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Address of a fault, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Name of a fault's `si_code`, such as `SEGV_MAPERR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_name: Option<String>,
    /// The resource whose limit was hit, such as `RLIMIT_CPU`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// How many connections are in the way of a bind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// After how many seconds, at the latest, the last of them expires by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_in_seconds: Option<f64>,
    /// Who served the port before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_by: Option<Box<Process>>,
    /// What an administrator can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Name of the OOM daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
    /// Why a key is not here.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
}

impl Cause {
    /// A cause without the keys of its type.
    #[must_use]
    pub fn new(
        cause_type: CauseType,
        summary: impl Into<Cow<'static, str>>,
        confidence: Confidence,
    ) -> Self {
        Self {
            cause_type,
            summary: summary.into(),
            evidence: Vec::new(),
            confidence,
            sender: None,
            prompted_by: None,
            oom_seq: None,
            limit_cgroup: None,
            limit_bytes: None,
            address: None,
            code_name: None,
            resource: None,
            connections: None,
            free_in_seconds: None,
            left_by: None,
            remedy: None,
            daemon: None,
            missing: Missing::new(),
        }
    }

    /// Sets the remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: &str) -> Self {
        self.remedy = Some(remedy.to_owned());
        self
    }

    /// Adds a line of evidence.
    #[must_use]
    pub fn because(mut self, evidence: impl Into<Cow<'static, str>>) -> Self {
        self.evidence.push(evidence.into());
        self
    }
}

/// Kinds of causes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CauseType {
    /// It ended by itself.
    ExitCode,
    /// The kernel's OOM killer.
    OomKill,
    /// A daemon that frees memory by killing.
    OomDaemon,
    /// A signal that a process sent.
    Killed,
    /// A fault of its own: bad memory access, bad instruction, division by zero.
    Fault,
    /// It aborted itself.
    Abort,
    /// seccomp forbade a system call.
    Seccomp,
    /// A limit of its own (setrlimit).
    ResourceLimit,
    /// It wrote to a pipe or socket that nobody reads.
    Pipe,
    /// The kernel, for another reason.
    Kernel,
    /// A port: somebody serves it, or holds a connection on it.
    Held,
    /// A port: only connections in TIME_WAIT are on it.
    TimeWait,
    /// A port: only connections that are not fully closed are on it.
    Closing,
    /// A port: a socket is bound to it, but nobody listens.
    BoundNotListening,
    /// A unix socket: its file exists, but nobody serves it.
    StaleSocketFile,
    /// A port or path that this process may not use.
    Permission,
    /// An address that this machine, or this network namespace, does not have.
    AddressNotLocal,
    /// Not known.
    Unknown,
}

impl CauseType {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExitCode => "exit_code",
            Self::OomKill => "oom_kill",
            Self::OomDaemon => "oom_daemon",
            Self::Killed => "killed",
            Self::Fault => "fault",
            Self::Abort => "abort",
            Self::Seccomp => "seccomp",
            Self::ResourceLimit => "resource_limit",
            Self::Pipe => "pipe",
            Self::Kernel => "kernel",
            Self::Held => "held",
            Self::TimeWait => "time_wait",
            Self::Closing => "closing",
            Self::BoundNotListening => "bound_not_listening",
            Self::StaleSocketFile => "stale_socket_file",
            Self::Permission => "permission",
            Self::AddressNotLocal => "address_not_local",
            Self::Unknown => "unknown",
        }
    }
}

/// How certain a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The kernel reported it.
    Certain,
    /// The evidence allows another explanation, but a far-fetched one.
    Likely,
    /// One of several explanations, which the evidence names.
    Possible,
}

/// A request to stop that came before the death.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prompt {
    /// Signal number.
    pub signal: u32,
    /// Its name.
    pub signal_name: Cow<'static, str>,
    /// Who sent it; absent if the kernel did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Process>,
    /// How long before the death it was sent.
    pub seconds: f64,
    /// The process ignored it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
}
