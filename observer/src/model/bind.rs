//! Kinds `bind`, `listen` and `release`: a refused bind or listen, the start and the end of a served port.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Missing, Process, Socket, Time};

/// A bind or a listen failed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BindEvent {
    /// Who called.
    pub process: Process,
    /// Which call.
    pub call: Call,
    /// The address it asked for.
    pub socket: Socket,
    /// The kernel's error.
    pub error: Errno,
    /// Who is in the way: at most 16.
    pub holders: Vec<Holder>,
    /// How many entries `holders` would have if it had all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders_total: Option<u64>,
    /// How many others of this user and service were refused the same since the last event of it: they have no event of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// Why the kernel refused.
    pub cause: Cause,
    /// Why a key is not here.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
}

impl BindEvent {
    /// How many refusals it stands for.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.repeats.unwrap_or(0).saturating_add(1)
    }

    /// How many holders there are, named or not.
    #[must_use]
    pub fn all_holders(&self) -> u64 {
        self.holders_total.unwrap_or(0).max(self.holders.len() as u64)
    }
}

/// Which system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// bind(2).
    Bind,
    /// listen(2).
    Listen,
}

/// An error number of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Errno {
    /// Its number.
    pub errno: u32,
    /// Its name, such as `EADDRINUSE`.
    pub name: String,
}

impl Errno {
    /// From the negative result of a call.
    #[must_use]
    pub fn new(result: i32) -> Self {
        const NAMES: &[(u32, &str)] = &[
            (1, "EPERM"),
            (2, "ENOENT"),
            (9, "EBADF"),
            (12, "ENOMEM"),
            (13, "EACCES"),
            (14, "EFAULT"),
            (17, "EEXIST"),
            (19, "ENODEV"),
            (20, "ENOTDIR"),
            (22, "EINVAL"),
            (28, "ENOSPC"),
            (30, "EROFS"),
            (36, "ENAMETOOLONG"),
            (40, "ELOOP"),
            (88, "ENOTSOCK"),
            (95, "EOPNOTSUPP"),
            (97, "EAFNOSUPPORT"),
            (98, "EADDRINUSE"),
            (99, "EADDRNOTAVAIL"),
            (106, "EISCONN"),
        ];
        let errno = result.unsigned_abs();
        let name = NAMES.iter().find(|(number, _)| *number == errno);
        Self {
            errno,
            name: name.map_or_else(|| format!("E{errno}"), |(_, name)| (*name).to_owned()),
        }
    }
}

/// A process that holds a socket in the way.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Who.
    pub process: Process,
    /// Its descriptor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<u32>,
    /// The socket.
    pub socket: Socket,
    /// Since when the socket serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Its relation to the refused process.
    pub relation: Relation,
    /// It inherited the socket: it did not open it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherited: Option<bool>,
    /// Why a key is not here.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
}

/// Relation of a holder to the refused process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The same process.
    #[serde(rename = "self")]
    Myself,
    /// Its parent.
    Parent,
    /// Its child.
    Child,
    /// It has the same parent.
    Sibling,
    /// It belongs to the same systemd unit.
    SameUnit,
    /// Its parent, which opened the socket, is dead.
    Orphan,
    /// systemd holds it for a socket unit.
    SocketActivation,
    /// It forwards the port into a container.
    ContainerProxy,
    /// None of these.
    Stranger,
}

impl Relation {
    /// In words; empty for a stranger.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Myself => "the same process",
            Self::Parent => "its parent",
            Self::Child => "its child",
            Self::Sibling => "a child of the same parent",
            Self::SameUnit => "of the same unit",
            Self::Orphan => "an orphan whose parent is dead",
            Self::SocketActivation => "for a socket unit",
            Self::ContainerProxy => "for a container",
            Self::Stranger => "",
        }
    }
}

/// A process began to serve a port, or already served it when observer started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListenEvent {
    /// Who.
    pub process: Process,
    /// What.
    pub socket: Socket,
    /// Most connections that wait for accept(2); absent for datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// It already served when observer started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
}

/// The last holder of a served port is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseEvent {
    /// What.
    pub socket: Socket,
    /// The last holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// It may have ended up to this much earlier: where no hook reports the end, a periodic scan finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_seconds: Option<f64>,
    /// How long it was served, `late_seconds` included; absent if it began before observer started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_seconds: Option<f64>,
    /// Why a key is not here.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
}
