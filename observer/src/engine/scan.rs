//! A scan of all descriptors: what the engine wants to know, and what was found.
//!
//! **Invariant:** data only. `live/scan.rs` makes a scan, a capture holds its result.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{
    decode::{Descriptor, TaskId},
    diagnose::answer::{Answer, Question},
    enrich::{
        procfs::Living,
        scan::{Held, Scan},
    },
};

/// A scan that should be made.
#[derive(Debug)]
pub struct ScanRequest {
    /// Ports whose connections matter too.
    pub ports: Vec<u16>,
    /// Refusals to explain.
    pub questions: Vec<Question>,
    /// Served sockets that are known, by address.
    pub known: HashMap<u64, KnownSocket>,
}

/// What a scan needs of a socket that is known.
#[derive(Clone, Copy, Debug)]
pub struct KnownSocket {
    /// Its inode number.
    pub inode: u64,
    /// The port of a TCP listener. One that no descriptor leads to may be on its way between two processes, or be known to
    /// io_uring alone: the kernel's own list has it still.
    pub listens_on: Option<u16>,
}

/// What a scan has found; captures hold it as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScanResult {
    /// Who holds which socket.
    #[serde(rename = "snapshot")]
    pub scan: Scan,
    /// Who is in the way of each refusal.
    pub answers: Vec<(Question, Answer)>,
    /// The owners of served sockets that were not known, each once.
    #[serde(deserialize_with = "list_or_map")]
    pub servers: Vec<Living>,
    /// Known sockets that serve although no descriptor leads to them.
    pub alive: HashSet<u64>,
}

impl ScanResult {
    /// The owners by identity.
    #[must_use]
    pub fn servers_by_id(&self) -> HashMap<TaskId, &Living> {
        self.servers.iter().map(|living| (living.task.id(), living)).collect()
    }
}

/// Captures of before have a map with an owner for each socket.
fn list_or_map<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Living>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Servers {
        List(Vec<Living>),
        BySocket(HashMap<String, Living>),
    }
    Ok(match Servers::deserialize(from)? {
        Servers::List(list) => list,
        Servers::BySocket(map) => map.into_values().collect(),
    })
}

/// The holder to name: one whose parent does not hold the socket as well.
#[must_use]
pub fn owner(held: &Held) -> Option<&Descriptor> {
    if let [only] = &held.holders[..] {
        return Some(only);
    }
    let pids: HashSet<u32> = held.holders.iter().map(|holder| holder.record.tgid).collect();
    held.holders.iter().find(|h| !pids.contains(&h.record.ppid)).or(held.holders.first())
}
