//! The `seq` of all events of a stream, of whomever, and what is said of those that are missing.

use serde_json::Value;

use crate::Story;

/// The numbers of a stream, in its order.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Each event's.
    pub all: Vec<u64>,
    /// The number of each `loss` event, and how many it says were lost.
    losses: Vec<(u64, u64)>,
}

impl Numbers {
    /// Takes the next event. `initial`: it tells how things were when a client joined, under the number of the session.
    pub fn add(&mut self, seq: u64, initial: bool) {
        if !initial || self.all.last() != Some(&seq) {
            self.all.push(seq);
        }
    }

    /// Notes what it says, if it is a `loss`.
    pub fn note(&mut self, event: &Value) {
        if let Some(seq) = event["seq"].as_u64().filter(|_| event["kind"] == "loss") {
            self.losses.push((seq, Story { events: vec![event.clone()] }.lost()));
        }
    }

    /// How many are missing here and said to be lost right behind the gap.
    pub fn lost_in_gaps(&self) -> u64 {
        let behind_gap = |seq: &u64| match self.all.binary_search(seq) {
            Ok(at @ 1..) => self.all[at - 1] + 1 != *seq,
            _ => false,
        };
        self.losses.iter().filter(|(seq, _)| behind_gap(seq)).map(|(_, lost)| lost).sum()
    }

    /// Holds when no number is missing, nor comes twice.
    #[track_caller]
    pub fn assert_unbroken(&self) {
        let gaps: Vec<_> = self.all.windows(2).filter(|pair| pair[0] + 1 != pair[1]).collect();
        assert!(gaps.is_empty(), "{} gaps, such as {:?}", gaps.len(), gaps.first());
    }

    /// Numbers that are missing between the first and the last.
    #[track_caller]
    pub fn missing(&self) -> u64 {
        let backwards = self.all.windows(2).find(|pair| pair[0] >= pair[1]);
        assert!(backwards.is_none(), "seq goes back: {backwards:?}");
        match self.all[..] {
            [first, .., last] => last + 1 - first - self.all.len() as u64,
            _ => 0,
        }
    }

    /// Holds when each gap is told, right behind it, with its exact size.
    #[track_caller]
    pub fn assert_each_gap_is_told(&self) {
        for pair in self.all.windows(2).filter(|pair| pair[0] + 1 != pair[1]) {
            let (before, seq) = (pair[0], pair[1]);
            let told = self.losses.iter().find(|(at, _)| *at == seq).map(|(_, lost)| *lost);
            assert!(before < seq, "seq goes back from {before} to {seq}");
            assert_eq!(told, Some(seq - before), "from {before} to {seq}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn numbers(all: &[u64], loss: (u64, u64)) -> Numbers {
        let mut numbers = Numbers::default();
        for seq in all {
            numbers.add(*seq, false);
        }
        let lost = json!({"exit": loss.1 - 1, "bind": 1});
        numbers.note(&json!({"kind": "loss", "seq": loss.0, "lost": lost}));
        numbers
    }

    #[test]
    fn gap_with_a_loss_of_its_size_is_told() {
        let told = numbers(&[1, 2, 5, 6], (5, 3));
        told.assert_each_gap_is_told();
        assert_eq!((told.missing(), told.lost_in_gaps()), (2, 3));
        assert_eq!(numbers(&[1, 2, 3], (3, 7)).lost_in_gaps(), 0);
    }

    #[test]
    #[should_panic(expected = "from 2 to 5")]
    fn gap_with_a_loss_of_another_size_is_not() {
        numbers(&[1, 2, 5, 6], (5, 2)).assert_each_gap_is_told();
    }

    #[test]
    #[should_panic(expected = "1 gaps")]
    fn gap_with_a_loss_is_still_a_gap() {
        numbers(&[1, 2, 5, 6], (5, 3)).assert_unbroken();
    }
}
