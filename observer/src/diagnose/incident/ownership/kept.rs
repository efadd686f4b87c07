//! The newest spans.
//!
//! **Bounded:** 3,000 of chosen ports and paths, 500 of ephemeral ports.

use std::collections::VecDeque;

/// Most spans of chosen ports and paths.
const CHOSEN: usize = 3000;
/// Most spans of ephemeral ports: they are many, and must not push out the others.
const DEALT_OUT: usize = 500;

/// The newest of many.
#[derive(Debug)]
pub struct Kept<T> {
    chosen: VecDeque<T>,
    rest: VecDeque<T>,
    /// How many older ones are not here.
    pub left_out: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { chosen: VecDeque::new(), rest: VecDeque::new(), left_out: 0 }
    }
}

impl<T> Kept<T> {
    pub(super) fn push(&mut self, one: T, chosen: bool) {
        let (all, most) =
            if chosen { (&mut self.chosen, CHOSEN) } else { (&mut self.rest, DEALT_OUT) };
        if all.len() >= most {
            all.pop_front();
            self.left_out += 1;
        }
        all.push_back(one);
    }

    /// All that are here, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chosen.iter().chain(&self.rest)
    }
}
