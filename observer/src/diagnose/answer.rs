//! What a refused bind asks of a scan, and what the scan answers: data that [`super::bind`] turns into a verdict.
//!
//! **Invariant:** data only; the live side fills it in, a capture holds it.

use observer_common::socket::{STATE_LISTEN, STATE_TIME_WAIT};
use serde::{Deserialize, Serialize};

use super::conflict::Asker;
use crate::{
    decode::{Descriptor, Endpoint, KernelSocket, TaskId},
    enrich::{connections::Connection, path_file::PathFile, procfs::Living},
};

/// A refused bind or listen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// What was asked, on which socket.
    pub asker: Asker,
    /// Who asked.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// The errno.
    pub errno: u32,
    /// Who asked had the same root folder as its parent.
    #[serde(default)]
    pub has_parents_root: bool,
}

/// What a question turns on: the same answer serves all with the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuestionKey {
    asked: Endpoint,
    netns: u32,
    protocol: u16,
    kind: u16,
    flags: u8,
    uid: u32,
    device: u32,
    errno: u32,
    ppid: u32,
    has_parents_root: bool,
}

impl Question {
    /// The address, the namespace, the options, and who it is for.
    #[must_use]
    pub fn key(&self) -> QuestionKey {
        let socket = &self.asker.socket.0;
        QuestionKey {
            asked: self.asker.asked.clone(),
            netns: socket.netns,
            protocol: socket.protocol,
            kind: socket.kind,
            flags: socket.flags,
            uid: socket.uid,
            device: socket.device,
            errno: self.errno,
            ppid: self.ppid,
            has_parents_root: self.has_parents_root,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// When its scan began, in nanoseconds of `CLOCK_BOOTTIME`; 0 when there was none.
    pub began_ns: u64,
    /// Sockets in the way, and who holds them.
    pub held: Vec<HeldSocket>,
    /// How many entries `held` would have if it had all; 0 in captures of before.
    #[serde(default)]
    pub entries: u64,
    /// How many processes hold what is in the way.
    #[serde(default)]
    pub processes: u64,
    /// TCP connections in the way that nobody has open; `None` when the network namespace could not be read.
    pub connections: Option<Vec<Connection>>,
    /// The file at the path of a unix socket.
    pub file: Option<PathFile>,
    /// Ports that the kernel deals out (`net.ipv4.ip_local_port_range`), when one of those was asked for.
    pub port_range: Option<String>,
    /// Zombies beside the process that was refused.
    pub zombies: Vec<(u32, String)>,
}

impl Answer {
    /// Whether there was no scan: it failed, or too many were refused at once.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.began_ns == 0
    }

    /// How many connections are in TIME_WAIT.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let rows = self.connections.iter().flatten();
        rows.filter(|row| row.state == STATE_TIME_WAIT).map(|row| row.count).sum()
    }

    /// A listening socket that no descriptor leads to.
    #[must_use]
    pub fn unowned_listener(&self) -> Option<&Connection> {
        self.connections.iter().flatten().find(|row| row.state == STATE_LISTEN)
    }

    /// Whether the answer names a process.
    #[must_use]
    pub fn names(&self, id: TaskId) -> bool {
        self.holders().any(|holder| holder == id)
    }

    /// Everybody whom it names.
    pub fn holders(&self) -> impl Iterator<Item = TaskId> {
        self.held.iter().flat_map(|found| found.holders.iter().map(|(holder, _)| holder.id()))
    }
}

/// A socket in the way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldSocket {
    /// The socket.
    pub socket: KernelSocket,
    /// Who holds it; `None` for a process that was gone before it could be read.
    pub holders: Vec<(Descriptor, Option<Living>)>,
}
