//! Who has how much of something that has a bound: when there is no room, whoever has most loses.
//!
//! **Invariant:** ordered, since a capture must give the same events as the live run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Things by their user.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    users: HashMap<u32, BTreeSet<u64>>,
    /// The users who have so many: the last have most.
    sizes: BTreeMap<usize, BTreeSet<u32>>,
}

impl Shares {
    /// A user has this thing from now on.
    pub fn insert(&mut self, uid: u32, thing: u64) {
        let of_user = self.users.entry(uid).or_default();
        let before = of_user.len();
        of_user.insert(thing);
        let now = of_user.len();
        self.resize(uid, before, now);
    }

    /// And no longer.
    pub fn remove(&mut self, uid: u32, thing: u64) {
        let Some(of_user) = self.users.get_mut(&uid) else { return };
        let before = of_user.len();
        of_user.remove(&thing);
        let now = of_user.len();
        if now == 0 {
            self.users.remove(&uid);
        }
        self.resize(uid, before, now);
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

    /// What the user with most would lose, if he has more than `uid` would have with another one: the one with the highest number.
    #[must_use]
    pub fn last_of_more_than(&self, uid: u32) -> Option<u64> {
        let own = self.users.get(&uid).map_or(0, BTreeSet::len);
        let (most, users) = self.sizes.last_key_value()?;
        let loses = users.last().filter(|_| *most > own + 1)?;
        self.users.get(loses)?.last().copied()
    }

    /// What the user with most would lose: the one with the lowest number.
    #[must_use]
    pub fn first_of_most(&self) -> Option<u64> {
        let (_, users) = self.sizes.last_key_value()?;
        self.users.get(users.last()?)?.first().copied()
    }
}
