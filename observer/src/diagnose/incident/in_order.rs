//! Entries by their keys, which mostly come in that order: a new one goes to the end, without a search.
//!
//! **Bounded:** by whoever fills it. One that comes out of order moves at most half of the others.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct InOrder<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for InOrder<K, V> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: Ord, V> InOrder<K, V> {
    /// Takes an entry in, unless its key is there.
    pub(super) fn insert(&mut self, key: K, value: impl FnOnce() -> V) {
        if let Err(at) = self.find(&key) {
            self.0.insert(at, (key, value()));
        }
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(super) fn first(&self) -> Option<&K> {
        self.0.front().map(|(key, _)| key)
    }

    pub(super) fn pop_first(&mut self) -> Option<(K, V)> {
        self.0.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where it is, or where it would be.
    fn find(&self, key: &K) -> Result<usize, usize> {
        match self.0.back() {
            Some((last, _)) if last >= key => self.0.binary_search_by(|(known, _)| known.cmp(key)),
            _ => Err(self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::InOrder;

    proptest! {
        #[test]
        fn it_is_a_sorted_map(steps in prop::collection::vec((0_u8..50, 0_u8..4), 0..200)) {
            let (mut ours, mut map) = (InOrder::default(), BTreeMap::new());
            for (at, (key, what)) in steps.into_iter().enumerate() {
                if what == 0 {
                    prop_assert_eq!(ours.pop_first(), map.pop_first());
                } else {
                    ours.insert(key, || at);
                    map.entry(key).or_insert(at);
                }
                prop_assert_eq!(ours.contains(&key), map.contains_key(&key));
                prop_assert_eq!(ours.first(), map.keys().next());
                prop_assert_eq!(ours.len(), map.len());
            }
        }
    }
}
