//! The `seq` of every event of a stream, and the losses that account for gaps.

use serde_json::Value;

use crate::Events;

/// The numbers of a stream, in order.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// The `seq` of every event, also of other processes' events.
    pub all: Vec<u64>,
    /// The `seq` of each `loss` event, and how many events it says were lost.
    losses: Vec<(u64, u64)>,
}

impl Numbers {
    /// Takes the next event. `initial`: a client gets it when it joins, with the `seq` of its `session`.
    pub fn add(&mut self, seq: u64, initial: bool) {
        if !initial || self.all.last() != Some(&seq) {
            self.all.push(seq);
        }
    }

    /// Notes the count of a `loss` event.
    pub fn note(&mut self, event: &Value) {
        if let Some(seq) = event["seq"].as_u64().filter(|_| event["kind"] == "loss") {
            self.losses.push((seq, Events { all: vec![event.clone()] }.lost()));
        }
    }

    /// How many events are lost according to the losses that follow a gap.
    pub fn lost_in_gaps(&self) -> u64 {
        let behind_gap = |seq: &u64| match self.all.binary_search(seq) {
            Ok(at @ 1..) => self.all[at - 1] + 1 != *seq,
            _ => false,
        };
        self.losses.iter().filter(|(seq, _)| behind_gap(seq)).map(|(_, lost)| lost).sum()
    }

    /// Asserts that no number is missing or repeated.
    #[track_caller]
    pub fn assert_unbroken(&self) {
        let gaps: Vec<_> = self.all.windows(2).filter(|pair| pair[0] + 1 != pair[1]).collect();
        assert!(gaps.is_empty(), "{} gaps, such as {:?}", gaps.len(), gaps.first());
    }

    /// How many numbers are missing between the first and the last.
    #[track_caller]
    pub fn missing(&self) -> u64 {
        let backwards = self.all.windows(2).find(|pair| pair[0] >= pair[1]);
        assert!(backwards.is_none(), "seq decreases: {backwards:?}");
        match self.all[..] {
            [first, .., last] => last + 1 - first - self.all.len() as u64,
            _ => 0,
        }
    }

    /// Asserts that each gap is followed by a `loss` of exactly its size.
    #[track_caller]
    pub fn assert_each_gap_is_reported(&self) {
        for pair in self.all.windows(2).filter(|pair| pair[0] + 1 != pair[1]) {
            let (before, seq) = (pair[0], pair[1]);
            let reported = self.losses.iter().find(|(at, _)| *at == seq).map(|(_, lost)| *lost);
            assert!(before < seq, "seq decreases from {before} to {seq}");
            assert_eq!(reported, Some(seq - before), "from {before} to {seq}");
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
    fn gap_with_a_loss_of_its_size_is_reported() {
        let reported = numbers(&[1, 2, 5, 6], (5, 3));
        reported.assert_each_gap_is_reported();
        assert_eq!((reported.missing(), reported.lost_in_gaps()), (2, 3));
        assert_eq!(numbers(&[1, 2, 3], (3, 7)).lost_in_gaps(), 0);
    }

    #[test]
    #[should_panic(expected = "from 2 to 5")]
    fn gap_with_a_loss_of_another_size_is_not() {
        numbers(&[1, 2, 5, 6], (5, 2)).assert_each_gap_is_reported();
    }

    #[test]
    #[should_panic(expected = "1 gaps")]
    fn gap_with_a_loss_is_still_a_gap() {
        numbers(&[1, 2, 5, 6], (5, 3)).assert_unbroken();
    }
}
