//! Finds served sockets by holder, by user and by place, so that no event has to look at all of them.
//!
//! **Invariant:** has an entry for each socket in the table and no other; ordered where something is chosen, since a capture must
//! give the same events as the live run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::ServedSocket;
use crate::{
    decode::{Endpoint, TaskId},
    diagnose::shares::Shares,
};

/// Where a socket is, whatever its address: its port, or a hash of its name.
pub(super) fn place(endpoint: &Endpoint) -> u64 {
    match endpoint {
        Endpoint::Inet(_, port) => u64::from(*port),
        name => {
            // The same keys in every run.
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            hasher.finish() | 1 << 63
        }
    }
}

/// By holder, by user, by place.
#[derive(Debug, Default)]
pub(super) struct Index {
    holders: BTreeMap<(u32, u64), BTreeSet<u64>>,
    shares: Shares,
    places: HashMap<u64, BTreeSet<u64>>,
    version: u64,
}

impl Index {
    pub(super) fn insert(&mut self, served: &ServedSocket) {
        let (sk, uid) = (served.socket.0.sk, served.socket.0.uid);
        for id in &served.holders {
            self.holders.entry((id.tgid, id.start_ns)).or_default().insert(sk);
        }
        self.places.entry(place(&served.socket.endpoint())).or_default().insert(sk);
        self.shares.insert(uid, sk);
        self.version += 1;
    }

    pub(super) fn remove(&mut self, served: &ServedSocket) {
        let (sk, uid) = (served.socket.0.sk, served.socket.0.uid);
        for id in &served.holders {
            self.lets_go(*id, sk);
        }
        let place = place(&served.socket.endpoint());
        if let Some(there) = self.places.get_mut(&place) {
            there.remove(&sk);
            if there.is_empty() {
                self.places.remove(&place);
            }
        }
        self.shares.remove(uid, sk);
        self.version += 1;
    }

    pub(super) fn change_holders(&mut self, sk: u64, before: &[TaskId], now: &[TaskId]) {
        for id in before.iter().filter(|id| !now.contains(id)) {
            self.lets_go(*id, sk);
        }
        for id in now {
            self.holders.entry((id.tgid, id.start_ns)).or_default().insert(sk);
        }
        self.version += 1;
    }

    fn lets_go(&mut self, id: TaskId, sk: u64) {
        let key = (id.tgid, id.start_ns);
        if let Some(held) = self.holders.get_mut(&key) {
            held.remove(&sk);
            if held.is_empty() {
                self.holders.remove(&key);
            }
        }
    }

    /// The socket that the user loses who has most, if that is more than this user would have with another one.
    pub(super) fn has_more_than(&self, uid: u32) -> Option<u64> {
        self.shares.last_of_more_than(uid)
    }

    pub(super) fn at(&self, endpoint: &Endpoint) -> impl Iterator<Item = u64> {
        self.places.get(&place(endpoint)).into_iter().flatten().copied()
    }

    pub(super) fn held_by(&self, id: TaskId) -> Option<&BTreeSet<u64>> {
        self.holders.get(&(id.tgid, id.start_ns))
    }

    pub(super) fn holders(&self) -> HashSet<u32> {
        self.holders.keys().map(|(tgid, _)| *tgid).collect()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }
}
