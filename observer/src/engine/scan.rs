//! A scan of all descriptors: what the engine wants to know, and what was found.
//!
//! **Invariant:** data only. `live/scan.rs` makes a scan, a capture holds its result.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{
    decode::{Descriptor, KernelSocket},
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
    pub known: HashMap<u64, KernelSocket>,
}

/// What a scan has found; captures hold it as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScanResult {
    /// Who holds which socket.
    #[serde(rename = "snapshot")]
    pub scan: Scan,
    /// Who is in the way of each refusal.
    pub answers: Vec<(Question, Answer)>,
    /// The owner of each served socket that was not known.
    pub servers: HashMap<u64, Living>,
    /// Known sockets that serve although no descriptor leads to them.
    pub alive: HashSet<u64>,
}

/// The holder to name: one whose parent does not hold the socket as well.
#[must_use]
pub fn owner(held: &Held) -> Option<&Descriptor> {
    let pids: HashSet<u32> = held.holders.iter().map(|holder| holder.record.tgid).collect();
    held.holders.iter().find(|h| !pids.contains(&h.record.ppid)).or(held.holders.first())
}
