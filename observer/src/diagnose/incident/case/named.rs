//! The events that an incident names: the first ones and the newest.
//!
//! **Bounded:** [`HALF`] of each.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, VecDeque},
};

use crate::model::Time;

/// Most of the first ones, and of the newest.
const HALF: usize = 100;

/// When an event happened, and its number.
type NamedEvent = (Time, u64);

/// Both halves are sorted. In a storm events come in the order of their times, so that a new one goes to the end.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct NamedEvents {
    /// All that come before the newest.
    first: Vec<NamedEvent>,
    newest: VecDeque<NamedEvent>,
}

impl NamedEvents {
    /// Takes an event in; true if another one had to go.
    pub(super) fn insert(&mut self, event: NamedEvent) -> bool {
        let among_first = match self.first.last().map(|last| event.cmp(last)) {
            Some(Ordering::Equal) => return false,
            Some(Ordering::Less) => true,
            _ => self.first.len() < HALF,
        };
        if among_first {
            let Err(at) = self.first.binary_search(&event) else { return false };
            self.first.insert(at, event);
            if self.first.len() > HALF
                && let Some(last) = self.first.pop()
            {
                self.newest.push_front(last);
            }
        } else if self.newest.back().is_none_or(|last| *last < event) {
            self.newest.push_back(event);
        } else {
            let Err(at) = self.newest.binary_search(&event) else { return false };
            self.newest.insert(at, event);
        }
        self.newest.len() > HALF && self.newest.pop_front().is_some()
    }

    /// In order.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = NamedEvent> {
        self.first.iter().chain(&self.newest).copied()
    }

    /// In order too.
    pub(in super::super) fn to_set(&self) -> BTreeSet<NamedEvent> {
        self.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{HALF, NamedEvents};
    use crate::model::Time;

    proptest! {
        /// Of more than there is room for, the one in the middle goes.
        #[test]
        fn the_first_and_the_newest_stay(numbers in prop::collection::vec(0_u32..600, 0..500)) {
            let (mut named, mut set, mut gone) = (NamedEvents::default(), BTreeSet::new(), 0);
            for number in numbers {
                let event = (Time(Timestamp::UNIX_EPOCH), u64::from(number));
                gone += u64::from(named.insert(event));
                if set.insert(event) && set.len() > 2 * HALF {
                    let middle = set.iter().nth(HALF).copied().expect("there");
                    set.remove(&middle);
                    gone -= 1;
                }
            }
            prop_assert_eq!(named.to_set(), set);
            prop_assert_eq!(gone, 0);
        }
    }
}
