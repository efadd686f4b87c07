//! Reads one scan of all descriptors of all processes: who holds which socket.
//!
//! **Bounded:** reads [`CHUNK`] bytes at a time; the result has one entry for each socket and process.

use std::{collections::HashMap, io::Read};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    decode::{Descriptor, KernelSocket, decode_holders},
    kernel::clock,
};

/// A socket and the processes that share it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The socket.
    pub socket: KernelSocket,
    /// Who holds it, one entry a process, with the lowest descriptor.
    pub holders: Vec<Descriptor>,
}

/// The result of one scan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scan {
    /// When the scan began: nanoseconds of `CLOCK_BOOTTIME`.
    pub began_ns: u64,
    /// When the scan ended: a change in between may be in it or not.
    pub ended_ns: u64,
    /// Sockets that serve or could, and connections on the ports that were asked for.
    pub sockets: Vec<Held>,
}

/// Buffer for one read of the iterator: the kernel returns 32 KiB at most.
const CHUNK: usize = 64 * 1024;

impl Scan {
    /// Reads the iterator to its end. Takes milliseconds: never call it on the thread that reads the rings.
    pub fn read(mut iterator: impl Read) -> Result<Self> {
        let began_ns = clock::boot_ns();
        let mut groups = SocketGroups::default();
        let mut chunk = vec![0; CHUNK];
        let mut kept = 0;
        loop {
            let n = iterator.read(&mut chunk[kept..]);
            match n.context("the scan of all descriptors broke off")? {
                0 => break,
                n => kept += n,
            }
            let rest =
                decode_holders(&chunk[..kept], |socket, holder| groups.add(socket, holder)).len();
            chunk.copy_within(kept - rest..kept, 0);
            kept = rest;
        }
        ensure!(kept == 0, "the scan of all descriptors ended within a record");
        let (ended_ns, sockets) = (clock::boot_ns(), groups.sockets);
        tracing::debug!(scan_us = (ended_ns - began_ns) / 1000, sockets = sockets.len());
        Ok(Self { began_ns, ended_ns, sockets })
    }

    /// Whether any process holds this socket.
    #[must_use]
    pub fn has_inode(&self, inode: u64) -> bool {
        self.sockets.iter().any(|held| held.socket.0.inode == inode)
    }
}

/// Sockets by their address, in the order of their first holder.
#[derive(Default)]
struct SocketGroups {
    index: HashMap<u64, usize>,
    sockets: Vec<Held>,
}

impl SocketGroups {
    fn add(&mut self, socket: KernelSocket, holder: Descriptor) {
        let at = *self.index.entry(socket.0.sk).or_insert_with(|| {
            self.sockets.push(Held { socket, holders: Vec::new() });
            self.sockets.len() - 1
        });
        let holders = &mut self.sockets[at].holders;
        if !holders.iter().any(|known| known.id() == holder.id()) {
            if holders.is_empty() {
                // Most sockets only ever have one holder, and a `Vec` would reserve four.
                holders.reserve_exact(1);
            }
            holders.push(holder);
        }
    }
}
