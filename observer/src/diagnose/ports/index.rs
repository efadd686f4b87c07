//! Finds served sockets by holder, by user and by place, so that no event has to look at all of them.
//!
//! **Invariant:** has an entry for each socket in the table and no other; ordered where something is chosen, since a capture must
//! give the same events as the live run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::ServedSocket;
use crate::decode::{Endpoint, TaskId};

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
    users: HashMap<u32, BTreeSet<u64>>,
    /// How many users have so many sockets: the highest is the most.
    sizes: BTreeMap<usize, BTreeSet<u32>>,
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
        let of_user = self.users.entry(uid).or_default();
        let before = of_user.len();
        of_user.insert(sk);
        let now = of_user.len();
        self.resize(uid, before, now);
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
        if let Some(of_user) = self.users.get_mut(&uid) {
            let before = of_user.len();
            of_user.remove(&sk);
            let now = of_user.len();
            if now == 0 {
                self.users.remove(&uid);
            }
            self.resize(uid, before, now);
        }
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

    fn resize(&mut self, uid: u32, before: usize, now: usize) {
        if let Some(users) = self.sizes.get_mut(&before) {
            users.remove(&uid);
            if users.is_empty() {
                self.sizes.remove(&before);
            }
        }
        if now > 0 {
            self.sizes.entry(now).or_default().insert(uid);
        }
    }

    /// The newest socket of the user who has most, if that is more than this user would have with another one.
    pub(super) fn has_more_than(&self, uid: u32) -> Option<u64> {
        let own = self.users.get(&uid).map_or(0, BTreeSet::len);
        let (most, users) = self.sizes.last_key_value()?;
        let loses = users.last().filter(|_| *most > own + 1)?;
        self.users.get(loses)?.last().copied()
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
