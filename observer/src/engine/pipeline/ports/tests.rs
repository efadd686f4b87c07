//! A death, and the scans that follow it.

use std::collections::HashSet;

use observer_common::socket::{STATE_LISTEN, SocketRecord};
use zerocopy::FromZeros as _;

use super::{Output, PortTracker, RECONCILE_NS, closing::CLOSING_NS};
use crate::{
    decode::{
        KernelSocket,
        samples::{DEATH, exit},
    },
    engine::scan::ScanResult,
    enrich::{Enricher, Users, scan::Scan},
    kernel::clock::Clock,
    model::Process,
};

/// A process that served port 8080, and died; its death waits for a scan.
fn after_a_servers_death() -> (PortTracker, Enricher) {
    let mut record = SocketRecord::new_zeroed();
    (record.sk, record.inode, record.netns) = (1, 7, 1);
    (record.family, record.kind, record.protocol) = (2, 1, 6);
    (record.port, record.state) = (8080, STATE_LISTEN);
    let mut ports = PortTracker::new(false);
    let death = exit(20, 9);
    ports.table.listen(KernelSocket(record), death.task.id(), Process::default(), DEATH - 100);
    assert!(ports.exit(Box::new(death)).is_none());
    let enricher = Enricher::new(Users::fixed([].into()), Clock::fixed(0));
    (ports, enricher)
}

/// What comes after a scan that found no descriptor, and the listener itself if it is `alive`.
fn scan(
    ports: &mut PortTracker,
    enricher: &mut Enricher,
    ended_ns: u64,
    alive: bool,
) -> Vec<Output> {
    assert!(ports.wants_scan(u64::MAX).is_some(), "a death waits");
    let found = ScanResult {
        scan: Scan { began_ns: ended_ns - 50, ended_ns, sockets: Vec::new(), left_out: 0 },
        answers: Vec::new(),
        servers: Vec::new(),
        alive: alive.then_some(1).into_iter().collect::<HashSet<u64>>(),
    };
    ports.scanned(found, ended_ns, enricher)
}

/// How many sockets the one death released, which comes with so many events.
fn released(outputs: &[Output], events: usize) -> usize {
    assert_eq!(outputs.len(), events);
    match &outputs[0] {
        Output::Death(_, released) => released.sockets.len(),
        _ => panic!("the death comes first"),
    }
}

#[test]
fn a_closing_socket_is_waited_for() {
    let (mut ports, mut enricher) = after_a_servers_death();
    assert!(scan(&mut ports, &mut enricher, DEATH + 100, true).is_empty());
    let outputs = scan(&mut ports, &mut enricher, DEATH + 200, false);
    assert_eq!(released(&outputs, 2), 1, "a death and a release");
}

#[test]
fn flush_waits_for_nothing() {
    let (mut ports, mut enricher) = after_a_servers_death();
    assert!(scan(&mut ports, &mut enricher, DEATH + 100, true).is_empty());
    let outputs = ports.flush(&mut enricher);
    assert_eq!(released(&outputs, 1), 0, "it was not closed yet");
}

#[test]
fn a_socket_that_stays_open_is_waited_for_one_second() {
    let (mut ports, mut enricher) = after_a_servers_death();
    let outputs = scan(&mut ports, &mut enricher, DEATH + CLOSING_NS, true);
    assert_eq!(released(&outputs, 1), 0, "somebody will take it out of a message");
    assert!(ports.table.get(1).is_some());
}

#[test]
fn a_failed_scan_is_repeated_after_a_pause() {
    let enricher = &mut Enricher::new(Users::fixed([].into()), Clock::fixed(0));
    let mut ports = PortTracker::new(true);
    assert!(ports.wants_scan(5).is_some());
    ports.scan_failed(10, enricher);
    assert!(ports.wants_scan(10).is_none());
    assert_eq!(ports.deadline_ns(), Some(10 + RECONCILE_NS));
    assert!(ports.wants_scan(10 + RECONCILE_NS).is_some());
}
