//! The `seq` of the events of a stream, and the losses that account for gaps.

use serde_json::Value;

use crate::Events;

/// The numbers of a stream, in order. Events that are not stored have none.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Every `seq`, also of other processes' events.
    pub all: Vec<u64>,
    /// What the client missed since the last number, by its own `loss` events, which have no `seq`.
    missed: Option<Missed>,
    /// Gaps: the numbers before and after, and what was said in between.
    gaps: Vec<(u64, u64, Option<Missed>)>,
    lost_by_client: u64,
    /// Exits with code 0 come without a number.
    zero_exits: bool,
}

/// What a client missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missed {
    total: u64,
    /// Of these, at most so many had a `seq`: incidents that grow have none.
    incidents: u64,
    exits: u64,
}

impl Numbers {
    /// Takes the next number.
    pub fn add(&mut self, seq: u64) {
        if let Some(before) = self.all.last().filter(|before| **before + 1 != seq) {
            self.gaps.push((*before, seq, self.missed));
        }
        self.missed = None;
        self.all.push(seq);
    }

    /// Takes note of an event without a number.
    pub fn note(&mut self, event: &Value) {
        if !event["seq"].is_null() {
            return;
        }
        self.zero_exits |= event["kind"] == "exit";
        if event["kind"] == "loss" {
            let of = |kind: &str| event["lost"][kind].as_u64().unwrap_or(0);
            let total = Events { all: vec![event.clone()] }.lost();
            let known = self.missed.unwrap_or_default();
            self.missed = Some(Missed {
                total: known.total + total,
                incidents: known.incidents + of("incident"),
                exits: known.exits + of("exit"),
            });
            self.lost_by_client += total;
        }
    }

    /// How many events the client missed, by its own losses.
    pub fn lost_by_client(&self) -> u64 {
        self.lost_by_client
    }

    /// Asserts that no number is missing or repeated.
    #[track_caller]
    pub fn assert_unbroken(&self) {
        assert!(self.gaps.is_empty(), "{} gaps, such as {:?}", self.gaps.len(), self.gaps.first());
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

    /// Asserts that each gap is announced by a `loss` of its size.
    #[track_caller]
    pub fn assert_each_gap_is_reported(&self) {
        for (before, seq, missed) in &self.gaps {
            assert!(before < seq, "seq decreases from {before} to {seq}");
            let missed = missed.unwrap_or_default();
            let unnumbered = missed.incidents + if self.zero_exits { missed.exits } else { 0 };
            let size = seq - before - 1;
            assert!(
                (missed.total - unnumbered..=missed.total).contains(&size),
                "from {before} to {seq}: {missed:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn numbers(all: &[u64], before: u64, lost: &Value) -> Numbers {
        let mut numbers = Numbers::default();
        for seq in all {
            if *seq == before {
                numbers.note(&json!({"kind": "loss", "lost": lost}));
            }
            numbers.add(*seq);
        }
        numbers
    }

    #[test]
    fn gap_with_a_loss_of_its_size_is_reported() {
        let lost = json!({"exit": 1, "bind": 1});
        let reported = numbers(&[1, 2, 5, 6], 5, &lost);
        reported.assert_each_gap_is_reported();
        assert_eq!((reported.missing(), reported.lost_by_client()), (2, 2));
        numbers(&[1, 2, 5, 6], 5, &json!({"exit": 2, "incident": 3})).assert_each_gap_is_reported();
    }

    #[test]
    #[should_panic(expected = "from 2 to 5")]
    fn gap_with_a_loss_of_another_size_is_not() {
        numbers(&[1, 2, 5, 6], 5, &json!({"exit": 3})).assert_each_gap_is_reported();
    }

    #[test]
    #[should_panic(expected = "from 2 to 5")]
    fn loss_of_another_moment_is_not() {
        numbers(&[1, 2, 5, 6], 2, &json!({"exit": 2})).assert_each_gap_is_reported();
    }

    #[test]
    #[should_panic(expected = "1 gaps")]
    fn gap_with_a_loss_is_still_a_gap() {
        numbers(&[1, 2, 5, 6], 5, &json!({"exit": 2})).assert_unbroken();
    }
}
