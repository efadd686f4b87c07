//! Finds sockets that serve although no process holds them: the kernel's own, such as those of WireGuard, VXLAN and NFS.
//!
//! **Bounded:** [`NAMESPACES`] network namespaces.

use std::{collections::BTreeMap, fs, os::linux::fs::MetadataExt as _};

use observer_common::socket::{STATE_CLOSE, STATE_LISTEN};

use super::{
    connections::{self, Connection, Tables},
    scan::Scan,
    sock_diag,
};
use crate::model::{Protocol, Socket, SocketState};

/// Most network namespaces that are looked into: anybody may make thousands, and each takes a thread of its own.
const NAMESPACES: usize = 256;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// Those on `ports`, in the network namespaces of this process and of every socket of the scan. Includes sockets that a
/// process opened after the scan.
#[must_use]
pub fn unheld(scan: &Scan, ports: &[u16]) -> Vec<Socket> {
    let mut tables = Tables::of(ports.iter().copied());
    let mut found = Vec::new();
    if ports.is_empty() {
        return found;
    }
    let inodes = scan.inodes();
    for (netns, pid) in namespaces(scan) {
        for (protocol, number, files, state) in [
            (Protocol::Tcp, IPPROTO_TCP, connections::TCP, STATE_LISTEN),
            (Protocol::Udp, IPPROTO_UDP, connections::UDP, STATE_CLOSE),
        ] {
            let elsewhere = (pid != std::process::id()).then_some(pid);
            let rows = sock_diag::on_ports(ports, number, state, elsewhere)
                .unwrap_or_else(|_refused| from_tables(&mut tables, (netns, pid), ports, files));
            let rows = rows.into_iter().filter(|row| row.state == state);
            let rows = rows.filter(|row| !inodes.contains(&row.inode));
            found.extend(rows.map(|row| socket(&row, protocol, netns)));
        }
    }
    found
}

/// From `/proc`, where sock_diag fails: slower, but works for any namespace with a process that we may read.
fn from_tables(
    tables: &mut Tables,
    namespace: (u32, u32),
    ports: &[u16],
    files: [&'static str; 2],
) -> Vec<Connection> {
    let mut rows = Vec::new();
    for port in ports {
        rows.extend_from_slice(tables.on_port(namespace, *port, files).unwrap_or_default());
    }
    rows
}

/// A process in each network namespace.
fn namespaces(scan: &Scan) -> BTreeMap<u32, u32> {
    let mut namespaces = BTreeMap::new();
    let own = std::process::id();
    namespaces.extend(netns_of(own).map(|netns| (netns, own)));
    for held in &scan.sockets {
        if namespaces.len() >= NAMESPACES {
            break;
        }
        let netns = held.socket.0.netns;
        if netns == 0 || namespaces.contains_key(&netns) {
            continue;
        }
        // A process may have left the namespace that its socket is in.
        let mut pids = held.holders.iter().map(|holder| holder.record.tgid);
        namespaces.extend(pids.find(|pid| netns_of(*pid) == Some(netns)).map(|pid| (netns, pid)));
    }
    namespaces
}

/// Inode number of a process's network namespace.
#[must_use]
pub fn netns_of(pid: u32) -> Option<u32> {
    let inode = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?.st_ino();
    u32::try_from(inode).ok()
}

fn socket(row: &Connection, protocol: Protocol, netns: u32) -> Socket {
    Socket {
        protocol,
        mptcp: false,
        address: Some(row.address),
        port: Some(row.port),
        ephemeral: false,
        path: None,
        path_hex: None,
        netns: Some(netns),
        state: Some(SocketState::Listen),
    }
}
