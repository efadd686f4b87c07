//! A holder that died, and the sockets that it may leave.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Output, without_state};
use crate::engine::pipeline::RELEASED;
use crate::{decode::Exit, diagnose::ports::PortTable, model::Socket};

/// How long the sockets of a dead process may be on their way out, in nanoseconds: do_exit (kernel/exit.c) closes its files
/// after its end was reported, and 20,000 connections take a fifth of a second.
pub(super) const CLOSING_NS: u64 = 1_000_000_000;

/// A holder that died.
#[derive(Debug)]
pub(super) struct Dying {
    pub(super) exit: Box<Exit>,
    /// What it held, by address.
    pub(super) sockets: BTreeSet<u64>,
    /// Those that its death may name: where the port was chosen first.
    pub(super) shown: HashMap<u64, Socket>,
    /// What it closed meanwhile: emitted after it.
    pub(super) releases: Vec<Output>,
    /// A scan has found a socket on its way out.
    pub(super) closing: bool,
}

impl Dying {
    pub(super) fn new(exit: Box<Exit>, table: &PortTable) -> Self {
        let sockets: BTreeSet<u64> = table.held_by(exit.task.id()).collect();
        let mut first: Vec<u64> = sockets.iter().copied().collect();
        if first.len() > RELEASED {
            let ephemeral = |sk: &u64| table.get(*sk).is_none_or(|s| s.socket.ephemeral());
            first.sort_by_key(|sk| (ephemeral(sk), *sk));
            first.truncate(RELEASED);
        }
        let shown = first.into_iter();
        let shown = shown.filter_map(|sk| Some((sk, without_state(&table.get(sk)?.socket))));
        Self { exit, sockets, shown: shown.collect(), releases: Vec::new(), closing: false }
    }

    /// About what it takes besides the record.
    pub(super) fn bytes(&self) -> usize {
        self.sockets.len() * 16 + self.shown.len() * size_of::<Socket>()
    }

    /// Whether a socket of it is between the end of its descriptor and its own.
    pub(super) fn is_closing(&self, alive: &HashSet<u64>, now_ns: u64) -> bool {
        now_ns < self.exit.time_ns.saturating_add(CLOSING_NS)
            && alive.iter().any(|sk| self.sockets.contains(sk))
    }
}
