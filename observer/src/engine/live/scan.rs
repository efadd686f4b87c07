//! Makes a scan: one pass of the iterator over all descriptors, and what `/proc` knows of those in question. Blocks.

use anyhow::Result;

use super::lookup::answer;
use crate::{
    decode::KernelSocket,
    engine::scan::{ScanRequest, ScanResult, owner},
    enrich::{
        connections::{self, Tables},
        procfs,
        scan::Scan,
    },
};

/// Reads `iterator`, and answers what `request` asks.
pub(super) fn run(request: ScanRequest, iterator: impl std::io::Read) -> Result<ScanResult> {
    let scan = Scan::read(iterator)?;
    let mut known = procfs::ProcessCache::default();
    let mut tables = Tables::of(request.ports);
    let answers = request
        .questions
        .into_iter()
        .map(|question| {
            let answer = answer(&scan, &question, &mut known, &mut tables);
            (question, answer)
        })
        .collect();
    let servers = scan
        .sockets
        .iter()
        .filter(|held| held.socket.serves() && !request.known.contains_key(&held.socket.0.sk))
        .filter_map(|held| Some((held.socket.0.sk, known.living(owner(held)?.id())?)))
        .collect();
    let own = std::process::id();
    let unheld: Vec<(u64, u64, u16)> = request
        .known
        .iter()
        .filter_map(|(sk, socket)| Some((*sk, socket.0.inode, listening(socket)?)))
        .filter(|(_, inode, _)| *inode != 0 && !scan.has_inode(*inode))
        .collect();
    let mut tables = Tables::of(unheld.iter().map(|(.., port)| *port));
    let mut serves = |inode, port| {
        let rows = tables.on_port((0, own), port, connections::TCP);
        rows.is_some_and(|rows| rows.iter().any(|row| row.inode == inode))
    };
    let alive = unheld.into_iter().filter(|(_, inode, port)| serves(*inode, *port));
    let alive = alive.map(|(sk, ..)| sk).collect();
    Ok(ScanResult { scan, answers, servers, alive })
}

/// The port of a TCP listener. One that no descriptor leads to may be on its way between two processes, or be known to
/// io_uring alone: the kernel's own list has it still.
fn listening(socket: &KernelSocket) -> Option<u16> {
    socket.endpoint().port().filter(|_| !socket.datagram())
}
