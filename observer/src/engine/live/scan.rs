//! Makes a scan: one pass of the iterator over all descriptors, and what `/proc` knows of those in question. Blocks, and may
//! block for ever where a file system of somebody else's does: [`super::threads`] gives it up.
//!
//! **Bounded:** reading by [`READ`], answering by [`ANSWER`]; [`SERVERS`] new servers are read.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::lookup::Lookup;
use crate::{
    decode::TaskId,
    engine::scan::{ScanRequest, ScanResult, owner},
    enrich::{
        connections::{self, Tables},
        procfs::{Living, ProcessCache},
        scan::{Budget, Scan},
    },
};

/// How long a scan is waited for: what takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);
/// How long the iterator may take: 200 ns a descriptor, five million of them.
const READ: Duration = Duration::from_secs(1);
/// How long answers may take after it. What is not answered by then is told without.
const ANSWER: Duration = Duration::from_millis(300);
/// How many servers that are new are looked at; of others only what the scan says is known.
const SERVERS: usize = 1024;

/// Reads `iterator`, and answers what `request` asks. `careful`: touches nothing that another process may hold up.
pub(super) fn run(
    request: ScanRequest,
    iterator: impl std::io::Read,
    careful: bool,
) -> Result<ScanResult> {
    let known = |sk| request.known.contains_key(&sk);
    let budget = Budget { until: Some(Instant::now() + READ), known: &known };
    let scan = Scan::read(iterator, &budget)?;
    let until = Instant::now() + ANSWER;
    let mut processes = ProcessCache::new(careful);
    let inodes = scan.inodes();
    let mut answers = Vec::new();
    if !request.questions.is_empty() {
        let tables = Tables::of(request.ports.iter().copied());
        let mut lookup = Lookup::new(&scan, &inodes, &mut processes, tables, careful);
        for question in request.questions {
            if Instant::now() > until {
                break;
            }
            let answer = lookup.answer(&question);
            answers.push((question, answer));
        }
    }
    let mut servers: HashMap<TaskId, Option<Living>> = HashMap::new();
    let is_new = |sk: u64| !request.known.contains_key(&sk);
    for held in scan.sockets.iter().filter(|h| h.socket.serves() && is_new(h.socket.0.sk)) {
        if servers.len() >= SERVERS || Instant::now() > until {
            break;
        }
        if let Some(owner) = owner(held) {
            servers.entry(owner.id()).or_insert_with(|| processes.living(owner.id()));
        }
    }
    let mut servers: Vec<Living> = servers.into_values().flatten().collect();
    servers.sort_by_key(|living| (living.task.record.tgid, living.task.record.start_time_ns));
    let alive = alive(&request.known, &inodes);
    Ok(ScanResult { scan, answers, servers, alive })
}

/// Listeners that no descriptor leads to, and that serve all the same.
fn alive(
    known: &HashMap<u64, crate::engine::scan::KnownSocket>,
    inodes: &HashSet<u64>,
) -> HashSet<u64> {
    let unheld: Vec<(u64, u64, u16)> = known
        .iter()
        .filter_map(|(sk, socket)| Some((*sk, socket.inode, socket.listens_on?)))
        .filter(|(_, inode, _)| *inode != 0 && !inodes.contains(inode))
        .collect();
    if unheld.is_empty() {
        return HashSet::new();
    }
    let own = std::process::id();
    let mut tables = Tables::of(unheld.iter().map(|(.., port)| *port));
    let serving = tables.inodes((0, own), connections::TCP);
    unheld.into_iter().filter(|(_, inode, _)| serving.contains(inode)).map(|(sk, ..)| sk).collect()
}
