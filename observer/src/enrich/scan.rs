//! Reads one scan of all descriptors: who holds which socket.
//!
//! Anybody may have as many sockets as his limits let him, and share each with as many children. So what is kept has bounds, and
//! what has no room is counted: a result that is not whole must not be taken for one.
//!
//! **Bounded:** reads [`CHUNK`] bytes at a time, for the time that its [`Budget`] gives. Keeps the sockets that are known, and
//! [`SOCKETS`] others, of which [`OF_ONE_USER`] of one user; [`HOLDERS`] processes of each, [`ENTRIES`] in all.

use std::{
    collections::{HashMap, HashSet},
    io::{ErrorKind, Read},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    decode::{Descriptor, KernelSocket, TaskId, decode_holders},
    kernel::clock,
};

/// A socket and the processes that share it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The socket.
    pub socket: KernelSocket,
    /// Who holds it, one entry a process, with the lowest descriptor.
    pub holders: Vec<Descriptor>,
    /// How many more entries had no room.
    #[serde(default)]
    pub more: u32,
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
    /// How many descriptors of sockets had no room: somebody who is not here may hold what is not here.
    #[serde(default)]
    pub left_out: u64,
}

/// What a scan may take.
pub struct Budget<'a> {
    /// When it is given up; `None`: never.
    pub until: Option<Instant>,
    /// Sockets that are kept whatever else there is, by address.
    pub known: &'a dyn Fn(u64) -> bool,
}

impl Budget<'_> {
    /// For somebody who waits for it.
    pub const ALONE: Budget<'static> = Budget { until: None, known: &|_| false };
}

/// Buffer for one read of the iterator: the kernel returns 32 KiB at most.
const CHUNK: usize = 64 * 1024;
/// Most sockets that are not known: 300 bytes each.
const SOCKETS: usize = 1 << 14;
/// Most of them of one user, root left aside.
const OF_ONE_USER: usize = 12 << 10;
/// Most processes of one socket.
const HOLDERS: usize = 256;
/// Most of all sockets, beyond the first of each: 48 bytes each.
const ENTRIES: usize = 1 << 17;

impl Scan {
    /// Reads the iterator to its end. Takes milliseconds: never call it on the thread that reads the rings.
    pub fn read(mut iterator: impl Read, budget: &Budget<'_>) -> Result<Self> {
        let began_ns = clock::boot_ns();
        let mut groups = SocketGroups::default();
        let mut chunk = vec![0; CHUNK];
        let mut kept = 0;
        loop {
            if budget.until.is_some_and(|until| until <= Instant::now()) {
                bail!("the scan of all descriptors took too long and was given up");
            }
            match iterator.read(&mut chunk[kept..]) {
                Ok(0) => break,
                Ok(n) => kept += n,
                // The kernel pauses after a million descriptors that are no sockets (bpf_seq_read, kernel/bpf/bpf_iter.c).
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the scan of all descriptors broke off"),
            }
            let mut add = |socket, holder| groups.add(socket, holder, budget.known);
            let rest = decode_holders(&chunk[..kept], &mut add).len();
            chunk.copy_within(kept - rest..kept, 0);
            kept = rest;
        }
        ensure!(kept == 0, "the scan of all descriptors ended within a record");
        let ended_ns = clock::boot_ns();
        let SocketGroups { sockets, left_out, .. } = groups;
        tracing::debug!(scan_us = (ended_ns - began_ns) / 1000, sockets = sockets.len(), left_out);
        Ok(Self { began_ns, ended_ns, sockets, left_out })
    }

    /// The inode numbers of all its sockets.
    #[must_use]
    pub fn inodes(&self) -> HashSet<u64> {
        self.sockets.iter().map(|held| held.socket.0.inode).collect()
    }
}

/// Sockets by their address, in the order of their first holder.
#[derive(Default)]
struct SocketGroups {
    index: HashMap<u64, usize>,
    sockets: Vec<Held>,
    /// The process of the last descriptor of each.
    last: Vec<TaskId>,
    /// Processes that were seen, and whether the present one had been seen before others: a thread with descriptors of its own.
    seen: HashSet<TaskId>,
    present: Option<TaskId>,
    again: bool,
    /// Of those that are not known: how many there are, and of each user.
    new: usize,
    of_users: HashMap<u32, usize>,
    entries: usize,
    left_out: u64,
}

impl SocketGroups {
    fn add(&mut self, socket: KernelSocket, holder: Descriptor, known: &dyn Fn(u64) -> bool) {
        let Some(at) = self.place(&socket, known) else {
            self.left_out += 1;
            return;
        };
        let id = holder.id();
        if self.present != Some(id) {
            self.present = Some(id);
            self.again = !self.seen.insert(id);
        }
        let held = &mut self.sockets[at];
        // Descriptors of one process follow each other.
        let known = !held.holders.is_empty() && self.last[at] == id;
        if known || (self.again && held.holders.iter().any(|known| known.id() == id)) {
            return;
        }
        self.last[at] = id;
        if held.holders.is_empty() {
            // Most sockets only ever have one holder, and a `Vec` would reserve four.
            held.holders.reserve_exact(1);
        } else if held.holders.len() >= HOLDERS || self.entries >= ENTRIES {
            held.more = held.more.saturating_add(1);
            return;
        } else {
            self.entries += 1;
        }
        held.holders.push(holder);
    }

    /// Where the socket is; `None` if there is no room for it.
    fn place(&mut self, socket: &KernelSocket, known: &dyn Fn(u64) -> bool) -> Option<usize> {
        if let Some(at) = self.index.get(&socket.0.sk) {
            return Some(*at);
        }
        if !known(socket.0.sk) {
            let of_user = self.of_users.entry(socket.0.uid).or_default();
            if self.new >= SOCKETS || (socket.0.uid != 0 && *of_user >= OF_ONE_USER) {
                return None;
            }
            *of_user += 1;
            self.new += 1;
        }
        self.sockets.push(Held { socket: *socket, holders: Vec::new(), more: 0 });
        self.last.push(TaskId { tgid: 0, start_ns: 0 });
        let at = self.sockets.len() - 1;
        self.index.insert(socket.0.sk, at);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use observer_common::socket::HeldRecord;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::{Budget, HOLDERS, OF_ONE_USER, Scan};

    fn record(sk: u64, uid: u32, tgid: u32) -> HeldRecord {
        let mut record = HeldRecord::new_zeroed();
        (record.socket.sk, record.socket.inode, record.socket.uid) = (sk, sk, uid);
        record.holder.tgid = tgid;
        record
    }

    fn read(records: &[HeldRecord], budget: &Budget<'_>) -> Scan {
        let bytes: Vec<u8> = records.iter().flat_map(|r| r.as_bytes().to_vec()).collect();
        Scan::read(&bytes[..], budget).expect("whole records")
    }

    #[test]
    fn one_user_can_not_take_all_the_room() {
        let flood = 1..=OF_ONE_USER as u64 + 10;
        let mut records: Vec<HeldRecord> = flood.map(|sk| record(sk, 1000, 20)).collect();
        records.push(record(1 << 40, 0, 1));
        let scan = read(&records, &Budget::ALONE);
        assert_eq!((scan.sockets.len(), scan.left_out), (OF_ONE_USER + 1, 10));
        assert!(scan.inodes().contains(&(1 << 40)), "root's comes last");
        // What is known is kept.
        let last = OF_ONE_USER as u64 + 10;
        let scan = read(&records, &Budget { until: None, known: &|sk| sk == last });
        assert!(scan.inodes().contains(&last));
    }

    #[test]
    fn many_holders_are_counted_and_each_counts_once() {
        let holders = 1..=u32::try_from(HOLDERS).expect("a small number") + 3;
        let mut records: Vec<HeldRecord> = holders.map(|pid| record(1, 0, pid)).collect();
        records.push(record(1, 0, 2));
        let scan = read(&records, &Budget::ALONE);
        assert_eq!((scan.sockets[0].holders.len(), scan.sockets[0].more), (HOLDERS, 3));
    }

    #[test]
    fn a_scan_is_given_up_in_time() {
        let past = Some(std::time::Instant::now());
        let scan = Scan::read(&[0; 8][..], &Budget { until: past, known: &|_| false });
        assert!(scan.expect_err("no time").to_string().contains("took too long"));
    }

    #[test]
    fn a_pause_of_the_kernel_is_no_end() {
        struct Pausing<'a>(bool, &'a [u8]);
        impl std::io::Read for Pausing<'_> {
            fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
                if !std::mem::replace(&mut self.0, true) {
                    return Err(std::io::ErrorKind::WouldBlock.into());
                }
                self.1.read(to)
            }
        }
        let record = record(1, 0, 2);
        let scan = Scan::read(Pausing(false, record.as_bytes()), &Budget::ALONE);
        assert_eq!(scan.expect("it goes on").sockets.len(), 1);
    }
}
