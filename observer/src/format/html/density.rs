//! Where many events lie in time: the more there are, the coarser.
//!
//! **Bounded:** 2,000 places a kind.

use std::collections::BTreeMap;

use crate::model::Time;

/// Most places in time.
const MOST: usize = 2000;

/// Events of one kind, by time.
#[derive(Debug)]
pub struct Density {
    width_ms: i64,
    places: BTreeMap<i64, Place>,
}

/// Events that lie close together.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// How many.
    pub(super) count: u64,
    /// Time of one of the first.
    pub(super) time: Time,
    /// Its number.
    pub(super) seq: u64,
    /// What it is.
    pub(super) label: String,
}

impl Default for Density {
    fn default() -> Self {
        Self { width_ms: 1, places: BTreeMap::new() }
    }
}

impl Density {
    pub(super) fn push(&mut self, time: Time, seq: u64, label: impl FnOnce() -> String) {
        let key = time.0.as_millisecond().div_euclid(self.width_ms);
        if let Some(place) = self.places.get_mut(&key) {
            place.count += 1;
            return;
        }
        self.places.insert(key, Place { count: 1, time, seq, label: label() });
        while self.places.len() > MOST {
            self.width_ms *= 2;
            for (key, place) in std::mem::take(&mut self.places) {
                match self.places.get_mut(&key.div_euclid(2)) {
                    Some(known) => known.count += place.count,
                    None => drop(self.places.insert(key.div_euclid(2), place)),
                }
            }
        }
    }

    /// All places, by time.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.values()
    }
}

#[cfg(test)]
mod tests {
    use super::{Density, MOST};
    use crate::model::Time;

    #[test]
    fn nothing_is_lost_in_a_crowd() {
        let mut density = Density::default();
        for n in 0..20_000_u64 {
            let ms = i64::try_from(n * 37).expect("small");
            let time = Time(jiff::Timestamp::from_millisecond(ms).expect("a time"));
            density.push(time, n, String::new);
        }
        assert!(density.places().count() <= MOST);
        assert!(density.places().count() > MOST / 4);
        assert_eq!(density.places().map(|place| place.count).sum::<u64>(), 20_000);
    }
}
