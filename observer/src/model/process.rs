//! The public form of a process.

use std::{borrow::Cow, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Missing, Time};

/// A process. (`pid`, `start_time`) identifies it: process ids are reused.
// Equal texts are shared between processes: otherwise thousands of copies were most of the memory of incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Process id of its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// That user's name on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// Its name: at most 15 bytes, which the process itself can set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<Arc<str>>,
    /// The original bytes of `comm` where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
    /// Path of its executable within its mount namespace; ` (deleted)` follows if the file was removed or replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<Arc<str>>,
    /// The original bytes of `exe` where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_hex: Option<String>,
    /// Its arguments, the program's own name first; a truncated list ends in `…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Arc<[String]>>,
    /// The original bytes of each of `args` where one of them is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_hex: Option<Vec<String>>,
    /// Size of the whole argument list if `args` is truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_total_bytes: Option<u64>,
    /// Path of its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Arc<str>>,
    /// The original bytes of `cgroup` where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_hex: Option<String>,
    /// Its systemd unit: one of the system's manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Arc<str>>,
    /// Its unit of a user's manager, where `unit` is that manager's own (`user@1000.service`): a name that its user chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_unit: Option<Arc<str>>,
    /// Id or name of its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    /// Inode number of its network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// Process id in its own pid namespace, if that is not the initial one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// Its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Whose events these are, where a user is held to account for how many there are: see `Task::origin_uid`. Not in events.
    #[serde(skip)]
    pub origin_uid: Option<u32>,
    /// It lives in the mount namespace of the first process: its `exe` is the file that root sees at that path. Not in events.
    #[serde(skip)]
    pub in_first_mntns: bool,
    /// Why a key is not here.
    #[serde(skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
}

impl Process {
    /// The user's name, or the id if it has none.
    #[must_use]
    pub fn user_or_uid(&self) -> Option<String> {
        let uid = || self.uid.map(|uid| uid.to_string());
        self.user.as_deref().map(str::to_owned).or_else(uid)
    }

    /// Its unit, and below a user's manager that one's too: `user@1000.service/shop.service`.
    #[must_use]
    pub fn whole_unit(&self) -> Option<Cow<'_, str>> {
        let unit = self.unit.as_deref()?;
        Some(match self.user_unit.as_deref() {
            Some(of_user) => format!("{unit}/{of_user}").into(),
            None => unit.into(),
        })
    }

    /// The unit, or the container if the unit is only its scope, whose name is 64 digits.
    #[must_use]
    pub fn place(&self) -> Option<Cow<'_, str>> {
        let container = self.container.as_deref();
        match (self.unit.as_deref(), container) {
            (Some(unit), Some(container))
                if unit.ends_with(".scope") && unit.contains(container) =>
            {
                Some(container.into())
            }
            _ => self.whole_unit().or(container.map(Cow::from)),
        }
    }
}

/// A process's parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Parent {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub comm: Arc<str>,
    /// The original bytes of `comm` where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_hex: Option<String>,
}
