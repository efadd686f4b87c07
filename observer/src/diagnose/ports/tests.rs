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
    let held = Held { socket: listener(), holders: vec![Descriptor { record }], more: 0 };
    Scan { began_ns, ended_ns: began_ns + 50, sockets: vec![held], left_out: 0 }
}

fn scan(table: &mut PortTable, scan: &Scan) -> Vec<ListenEvent> {
    let none = (HashSet::new(), HashSet::new());
    table.scanned(scan, false, &none.0, &none.1, 100, &mut |_| Process::default()).0
}

#[test]
fn a_listener_that_ended_during_the_scan_does_not_begin_again() {
    let mut table = PortTable::default();
    assert!(table.listen(listener(), SERVER, Process::default(), 100).is_some());
    assert!(table.stop(1, None, 220).is_some());
    // It began before that end, and its outcome comes after it.
    assert!(scan(&mut table, &found_at(200)).is_empty());
    assert!(table.get(1).is_none());
    assert!(table.drop_gone(&HashSet::new(), 300, 100).is_empty());
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
    assert_eq!(table.sockets().count(), SERVED);
    assert!(table.stop(SERVED as u64, None, 200).is_none());
    // A scan must not report the same one again.
    let mut snapshot = found_at(300);
    snapshot.sockets[0].socket = socket(SERVED);
    assert!(scan(&mut table, &snapshot).is_empty());
    // And where one ended there is room again.
    assert!(table.stop(7, None, 400).is_some());
    assert_eq!(scan(&mut table, &snapshot).len(), 1);
}

#[test]
fn whoever_has_most_loses_one_for_somebody_who_has_less() {
    let mut table = PortTable::default();
    let socket = |sk: usize, uid: u32| {
        let mut socket = listener();
        (socket.0.sk, socket.0.uid) = (sk as u64, uid);
        socket
    };
    for sk in 1..=SERVED {
        table.listen(socket(sk, 1000), SERVER, Process::default(), 100);
    }
    let root = TaskId { tgid: 1, start_ns: 1 };
    assert!(table.listen(socket(SERVED + 1, 0), root, Process::default(), 200).is_some());
    assert_eq!(table.sockets().count(), SERVED);
    assert!(table.is_holder(root) && table.get(SERVED as u64).is_none(), "the newest of the other");
    // The flood goes on, and takes nothing of root's.
    table.listen(socket(SERVED + 2, 1000), SERVER, Process::default(), 300);
    assert!(table.is_holder(root) && table.get(SERVED as u64 + 2).is_none());
    assert!(table.stop(SERVED as u64 + 1, None, 400).is_some());
    assert!(!table.is_holder(root));
    assert!(table.is_holder(SERVER));
}

#[test]
fn past_servers_of_others_are_not_pushed_out() {
    let mut table = PortTable::default();
    let serve = |table: &mut PortTable, sk: usize, uid: u32, port: u16| {
        let mut socket = listener();
        (socket.0.sk, socket.0.uid, socket.0.port) = (sk as u64, uid, port);
        table.listen(socket, SERVER, Process::default(), 100);
        table.stop(sk as u64, None, 200);
    };
    serve(&mut table, 1, 0, 80);
    for sk in 2..5 * super::PAST {
        serve(&mut table, sk, 1000, 9000);
    }
    let there = crate::decode::Endpoint::Inet([0, 0, 0, 0].into(), 80);
    assert!(table.past(&there, 1).is_some());
    assert_eq!(table.past.len(), super::PAST);
}

#[test]
fn holders_that_had_no_room_keep_a_socket_served() {
    let mut table = PortTable::default();
    table.listen(listener(), SERVER, Process::default(), 100);
    let mut found = found_at(200);
    found.sockets[0].more = 3;
    let dying = [SERVER].into();
    table.scanned(&found, false, &dying, &HashSet::new(), 100, &mut |_| Process::default());
    assert!(table.drop_gone(&HashSet::new(), 300, 100).is_empty());
    assert!(table.get(1).is_some() && !table.is_holder(SERVER));
}
