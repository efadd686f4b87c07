//! What a scan finds, and what the kernel reports meanwhile.

use std::collections::HashSet;

use observer_common::socket::{HolderRecord, STATE_LISTEN, SocketRecord};
use zerocopy::FromZeros;

use super::{PortTable, SERVED};
use crate::{
    decode::{Descriptor, KernelSocket, TaskId},
    enrich::scan::{Held, Scan},
    model::{ListenEvent, Process},
};

const SERVER: TaskId = TaskId { tgid: 20, start_ns: 5 };

fn listener() -> KernelSocket {
    let mut record = SocketRecord::new_zeroed();
    record.sk = 1;
    record.netns = 1;
    record.family = 2;
    record.kind = 1;
    record.protocol = 6;
    record.port = 8080;
    record.state = STATE_LISTEN;
    KernelSocket(record)
}

/// A scan that began then and found the listener.
fn found_at(began_ns: u64) -> Scan {
    let mut record = HolderRecord::new_zeroed();
    (record.tgid, record.start_time_ns) = (SERVER.tgid, SERVER.start_ns);
    let held = Held { socket: listener(), holders: vec![Descriptor { record }] };
    Scan { began_ns, ended_ns: began_ns + 50, sockets: vec![held] }
}

fn scan(table: &mut PortTable, scan: &Scan) -> Vec<ListenEvent> {
    let none = (HashSet::new(), HashSet::new());
    table.scanned(scan, false, &none.0, &none.1, &mut |_| Process::default())
}

#[test]
fn a_listener_that_ended_during_the_scan_does_not_begin_again() {
    let mut table = PortTable::default();
    assert!(table.listen(listener(), SERVER, Process::default(), 100).is_some());
    assert!(table.stop(1, None, 220).is_some());
    // It began before that end, and its outcome comes after it.
    assert!(scan(&mut table, &found_at(200)).is_empty());
    assert!(table.get(1).is_none());
    assert!(table.drop_gone(&HashSet::new(), 300).is_empty());
}

#[test]
fn the_next_server_on_the_same_port_is_found() {
    let mut table = PortTable::default();
    table.listen(listener(), SERVER, Process::default(), 100);
    table.stop(1, None, 220);
    // The kernel deals out the same address for the next socket.
    assert_eq!(scan(&mut table, &found_at(221)).len(), 1);
    assert!(table.get(1).is_some());
}

#[test]
fn what_a_process_closed_as_it_ended_is_its_own() {
    const SECOND: u64 = 1_000_000_000;
    let mut table = PortTable::default();
    table.listen(listener(), SERVER, Process::default(), SECOND);
    table.stop(1, Some((SERVER, Process::default())), 2 * SECOND);
    let other = TaskId { tgid: SERVER.tgid, start_ns: 6 };
    assert_eq!(table.closed_by(SERVER, 5 * SECOND).count(), 1);
    assert_eq!(table.closed_by(other, 5 * SECOND).count(), 0);
    assert_eq!(table.closed_by(SERVER, 50 * SECOND).count(), 0);
}

#[test]
fn a_flood_of_sockets_is_reported_and_not_all_remembered() {
    let mut table = PortTable::default();
    let socket = |sk: usize| {
        let mut socket = listener();
        socket.0.sk = sk as u64;
        socket
    };
    for sk in 0..=SERVED {
        assert!(table.listen(socket(sk), SERVER, Process::default(), 100).is_some());
    }
    assert_eq!(table.sockets().len(), SERVED);
    assert!(table.stop(SERVED as u64, None, 200).is_none());
    // A scan must not report the same one again.
    let mut snapshot = found_at(300);
    snapshot.sockets[0].socket = socket(SERVED);
    assert!(scan(&mut table, &snapshot).is_empty());
    // And where one ended there is room again.
    assert!(table.stop(7, None, 400).is_some());
    assert_eq!(scan(&mut table, &snapshot).len(), 1);
}
