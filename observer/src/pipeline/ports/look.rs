//! A look at who holds what: what it is to find out, and what it found.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    decode,
    diagnose::ports::serves,
    enrich::{
        connections::{self, Tables},
        lookup::{Answer, Question, answer},
        procfs::{self, Living},
        snapshot::{Held, Snapshot},
    },
};

/// A look that should be made.
pub struct Look {
    /// Ports whose connections matter too.
    pub ports: Vec<u16>,
    pub(super) questions: Vec<Question>,
    pub(super) known: HashMap<u64, decode::Socket>,
}

/// What a look has found; recordings keep it in JSON.
#[derive(Serialize, Deserialize)]
pub struct Looked {
    pub(super) snapshot: Snapshot,
    pub(super) answers: Vec<(Question, Answer)>,
    pub(super) servers: HashMap<u64, Living>,
    /// Known sockets that serve although no descriptor leads to them.
    pub(super) alive: HashSet<u64>,
}

impl Look {
    /// Makes it: reads one pass over all descriptors, and what `/proc` knows of those in question. Blocks.
    pub fn run(self, iterator: impl std::io::Read) -> Result<Looked> {
        let snapshot = Snapshot::read(iterator)?;
        let mut known = procfs::Known::default();
        let mut tables = Tables::of(self.ports);
        let answers = self
            .questions
            .into_iter()
            .map(|question| {
                let answer = answer(&snapshot, &question, &mut known, &mut tables);
                (question, answer)
            })
            .collect();
        let servers = snapshot
            .sockets
            .iter()
            .filter(|held| serves(&held.socket) && !self.known.contains_key(&held.socket.0.sk))
            .filter_map(|held| Some((held.socket.0.sk, known.living(owner(held)?.id())?)))
            .collect();
        let own = std::process::id();
        let unheld: Vec<(u64, u64, u16)> = self
            .known
            .iter()
            .filter_map(|(sk, socket)| Some((*sk, socket.0.inode, listening(socket)?)))
            .filter(|(_, inode, _)| *inode != 0 && !snapshot.has_inode(*inode))
            .collect();
        let mut tables = Tables::of(unheld.iter().map(|(.., port)| *port));
        let mut serves = |inode, port| {
            let rows = tables.on_port((0, own), port, connections::TCP);
            rows.is_some_and(|rows| rows.iter().any(|row| row.inode == inode))
        };
        let alive = unheld.into_iter().filter(|(_, inode, port)| serves(*inode, *port));
        let alive = alive.map(|(sk, ..)| sk).collect();
        Ok(Looked { snapshot, answers, servers, alive })
    }
}

/// The port of a TCP listener. One that no descriptor leads to may be on its way between two processes, or be known to
/// io_uring alone: the kernel's own list has it still.
fn listening(socket: &decode::Socket) -> Option<u16> {
    socket.endpoint().port().filter(|_| !socket.datagram())
}

/// The holder to name: one whose parent does not hold the socket as well.
pub(super) fn owner(held: &Held) -> Option<&decode::Holder> {
    let pids: HashSet<u32> = held.holders.iter().map(|holder| holder.record.tgid).collect();
    held.holders.iter().find(|h| !pids.contains(&h.record.ppid)).or(held.holders.first())
}
