//! A death, and the looks that follow it.

use std::collections::{HashMap, HashSet};

use observer_common::socket::{STATE_LISTEN, SocketRecord};
use zerocopy::FromZeros as _;

use super::{CLOSING_NS, Looked, Ports, RECONCILE_NS, Told};
use crate::{
    decode::{
        Socket,
        samples::{DEATH, exit},
    },
    enrich::{Enricher, Users, snapshot::Snapshot},
    kernel::clock::Clock,
    model::Process,
};

/// A process that served port 8080, and died; its death is not told before a look.
fn after_a_servers_death() -> (Ports, Enricher) {
    let mut record = SocketRecord::new_zeroed();
    (record.sk, record.inode, record.netns) = (1, 7, 1);
    (record.family, record.kind, record.protocol) = (2, 1, 6);
    (record.port, record.state) = (8080, STATE_LISTEN);
    let mut ports = Ports::new(false);
    let death = exit(20, 9);
    ports.table.listen(Socket(record), death.task.id(), Process::default(), DEATH - 100);
    assert!(ports.exit(Box::new(death)).is_none());
    let enricher = Enricher::with(Users::fixed([].into()), Clock::fixed(0));
    (ports, enricher)
}

/// What is told after a look that found no descriptor, and the listener itself if it is `alive`.
fn look(ports: &mut Ports, enricher: &mut Enricher, ended_ns: u64, alive: bool) -> Vec<Told> {
    assert!(ports.wanted(u64::MAX).is_some(), "a death waits");
    let found = Looked {
        snapshot: Snapshot { began_ns: ended_ns - 50, ended_ns, sockets: Vec::new() },
        answers: Vec::new(),
        servers: HashMap::new(),
        alive: alive.then_some(1).into_iter().collect::<HashSet<u64>>(),
    };
    let mut told = Vec::new();
    ports.looked(found, ended_ns, enricher, &mut told);
    told
}

/// How many sockets the one death released that is told with so many events.
fn released(told: &[Told], events: usize) -> usize {
    assert_eq!(told.len(), events);
    match &told[0] {
        Told::Death(_, released) => released.len(),
        Told::Event(..) => panic!("the death comes first"),
    }
}

#[test]
fn what_is_being_closed_is_waited_for() {
    let (mut ports, mut enricher) = after_a_servers_death();
    assert!(look(&mut ports, &mut enricher, DEATH + 100, true).is_empty());
    let told = look(&mut ports, &mut enricher, DEATH + 200, false);
    assert_eq!(released(&told, 2), 1, "a death and a release");
}

#[test]
fn the_end_waits_for_nothing() {
    let (mut ports, mut enricher) = after_a_servers_death();
    assert!(look(&mut ports, &mut enricher, DEATH + 100, true).is_empty());
    let mut told = Vec::new();
    ports.let_go(&mut enricher, &mut told);
    assert_eq!(released(&told, 1), 0, "it was not closed yet");
}

#[test]
fn what_stays_open_is_not_waited_for_for_long() {
    let (mut ports, mut enricher) = after_a_servers_death();
    let told = look(&mut ports, &mut enricher, DEATH + CLOSING_NS, true);
    assert_eq!(released(&told, 1), 0, "somebody will take it out of a message");
    assert!(ports.table.get(1).is_some());
}

#[test]
fn a_look_that_failed_is_made_again_after_a_pause() {
    let enricher = &mut Enricher::with(Users::fixed([].into()), Clock::fixed(0));
    let mut ports = Ports::new(true);
    assert!(ports.wanted(5).is_some());
    ports.failed(10, enricher, &mut Vec::new());
    assert!(ports.wanted(10).is_none());
    assert_eq!(ports.deadline_ns(), Some(10 + RECONCILE_NS));
    assert!(ports.wanted(10 + RECONCILE_NS).is_some());
}
