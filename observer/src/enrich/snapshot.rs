//! One pass over all descriptors of all processes: who holds which socket.

use std::{collections::HashMap, io::Read};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    decode::{Holder, Socket, TaskId, decode_holders},
    kernel::clock,
};

/// A socket and the processes that share it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The socket.
    pub socket: Socket,
    /// Who holds it, one entry a process, with the lowest descriptor.
    pub holders: Vec<Holder>,
}

/// Everything one pass has seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// When the pass began: nanoseconds of `CLOCK_BOOTTIME`.
    pub began_ns: u64,
    /// When it was over: what happened in between may be in it or not.
    pub ended_ns: u64,
    /// Sockets that serve or could, and connections on the ports that were asked for.
    pub sockets: Vec<Held>,
}

/// What one read of the iterator may bring: the kernel hands out 32 KiB at most.
const CHUNK: usize = 64 * 1024;

impl Snapshot {
    /// Runs the pass that `iterator` stands for; takes milliseconds, so not on the thread that reads the rings.
    pub fn read(mut iterator: impl Read) -> Result<Self> {
        let began_ns = clock::boot_ns();
        let mut bytes = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match iterator.read(&mut chunk).context("the pass over all descriptors broke off")? {
                0 => break,
                n => bytes.extend_from_slice(&chunk[..n]),
            }
        }
        Ok(Self { began_ns, ended_ns: clock::boot_ns(), sockets: group(decode_holders(&bytes)?) })
    }

    /// Whether a descriptor leads to this socket.
    #[must_use]
    pub fn has_inode(&self, inode: u64) -> bool {
        self.sockets.iter().any(|held| held.socket.0.inode == inode)
    }
}

impl Holder {
    /// Who holds it.
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId { tgid: self.record.tgid, start_ns: self.record.start_time_ns }
    }
}

fn group(holders: Vec<Holder>) -> Vec<Held> {
    let mut index: HashMap<u64, usize> = HashMap::new();
    let mut sockets: Vec<Held> = Vec::new();
    for holder in holders {
        let at = *index.entry(holder.record.socket.sk).or_insert_with(|| {
            sockets.push(Held { socket: Socket(holder.record.socket), holders: Vec::new() });
            sockets.len() - 1
        });
        let known = sockets[at].holders.iter().any(|h| h.id() == holder.id());
        if !known {
            sockets[at].holders.push(holder);
        }
    }
    sockets
}
