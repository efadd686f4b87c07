//! What was told, and whether it is what a test expects.

use std::fmt::{self, Display};

use serde_json::Value;

use crate::patience;

/// Events about the processes of a test.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// In the order in which they were told.
    pub events: Vec<Value>,
}

impl Story {
    /// The events of one kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["kind"] == kind)
    }

    /// The `exit` events of one process.
    pub fn exits_of(&self, pid: u32) -> impl Iterator<Item = &Value> {
        self.of_kind("exit").filter(move |event| event["process"]["pid"] == pid)
    }

    /// The one `exit` of that process: not none, and not two.
    pub fn only_exit_of(&self, pid: u32) -> &Value {
        let exits: Vec<_> = self.exits_of(pid).collect();
        match exits[..] {
            [one] => one,
            _ => panic!("{} exits of {pid}, not one; {self}", exits.len()),
        }
    }

    /// The `exit` events of the children of one process.
    pub fn exits_of_children(&self, ppid: u32) -> impl Iterator<Item = &Value> {
        self.of_kind("exit").filter(move |event| event["process"]["ppid"] == ppid)
    }

    /// How many records of any kind were lost, as far as it was told, and without those of [`Self::skipped`].
    pub fn lost(&self) -> u64 {
        self.losses(false)
    }

    /// How many of one kind were lost, likewise.
    pub fn lost_of(&self, kind: &str) -> u64 {
        let told = self.of_kind("loss").filter(|event| event["at_most"] != true);
        told.filter_map(|event| event["lost"][kind].as_u64()).sum()
    }

    /// At most so many deaths were skipped by the kernel, as it told: a thread was preempted inside the exit programs, so
    /// that others on its processor did not run them. An ordinary machine does that hardly ever; an emulated one, where a
    /// program takes a good part of a time slice, in every storm.
    pub fn skipped(&self) -> u64 {
        self.losses(true)
    }

    fn losses(&self, at_most: bool) -> u64 {
        let told = self.of_kind("loss").filter(|event| (event["at_most"] == true) == at_most);
        told.map(|event| total(&event["lost"])).sum()
    }

    /// Whether the deaths of all these children were told, or as many exits were said to be lost or skipped.
    pub fn has_all(&self, parents: &[u32], sent: usize) -> bool {
        let lost = usize::try_from(self.lost_of("exit") + self.skipped()).expect("a count");
        let told = self.told_of(parents);
        told <= sent && told + lost >= sent
    }

    /// Holds when [`Self::has_all`] does.
    #[track_caller]
    pub fn assert_all_told(&self, parents: &[u32], sent: usize) {
        self.assert_told(parents, sent, self.has_all(parents, sent));
    }

    /// Holds when the deaths of all these children were told, whatever else was lost; on a slow machine, or as many were said to
    /// be skipped.
    #[track_caller]
    pub fn assert_none_lost(&self, parents: &[u32], sent: usize) {
        let told = self.told_of(parents);
        let skipped = usize::try_from(self.skipped()).expect("a count");
        let all = told == sent || patience::slow_machine() && told < sent && told + skipped >= sent;
        self.assert_told(parents, sent, all);
    }

    #[track_caller]
    fn assert_told(&self, parents: &[u32], sent: usize, all: bool) {
        let (told, lost, skipped) = (self.told_of(parents), self.lost_of("exit"), self.skipped());
        assert!(all, "{sent} ended, {told} were told, {lost} lost, at most {skipped} skipped; {self}");
    }

    fn told_of(&self, parents: &[u32]) -> usize {
        parents.iter().map(|pid| self.exits_of_children(*pid).count()).sum()
    }
}

/// All numbers in an object of counts, however deep.
fn total(counts: &Value) -> u64 {
    match counts {
        Value::Object(map) => map.values().map(total).sum(),
        Value::Array(items) => items.iter().map(total).sum(),
        other => other.as_u64().unwrap_or(0),
    }
}

impl Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = 8;
        write!(f, "{} events were told about processes of this test", self.events.len())?;
        // What was lost explains what is missing, wherever it stands.
        for loss in self.of_kind("loss") {
            write!(f, "\n  {loss}")?;
        }
        for event in self.events.iter().rev().take(shown) {
            write!(f, "\n  {event}")?;
        }
        if self.events.len() > shown { write!(f, "\n  …") } else { Ok(()) }
    }
}

/// Holds when everything in `expected` is in `actual`: objects may have more keys, all else is
/// equal. `null` stands for a key that must be absent.
#[track_caller]
pub fn assert_has(actual: &Value, expected: &Value) {
    let mut differences = Vec::new();
    compare("", actual, expected, &mut differences);
    assert!(differences.is_empty(), "not as expected:\n{}\nin\n{actual:#}", differences.join("\n"));
}

fn compare(path: &str, actual: &Value, expected: &Value, differences: &mut Vec<String>) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            for (key, value) in expected {
                let there = actual.get(key).unwrap_or(&Value::Null);
                compare(&format!("{path}.{key}"), there, value, differences);
            }
        }
        (Value::Array(actual), Value::Array(expected)) if actual.len() == expected.len() => {
            for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
                compare(&format!("{path}[{index}]"), actual, expected, differences);
            }
        }
        _ if actual == expected => {}
        _ => differences.push(format!("  {path}: expected {expected}, not {actual}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(actual: &Value, expected: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        compare("", actual, expected, &mut differences);
        differences
    }

    #[test]
    fn more_keys_are_no_difference() {
        assert!(
            differences(&json!({"a": 1, "b": {"c": 2, "d": 3}}), &json!({"b": {"c": 2}}))
                .is_empty()
        );
    }

    #[test]
    fn every_difference_is_told_with_its_path() {
        let actual = json!({"a": 1, "b": [1, {"c": 2}], "there": 1});
        let expected = json!({"a": 2, "b": [1, {"c": 3}], "gone": "x", "there": null});
        assert_eq!(
            differences(&actual, &expected),
            [
                "  .a: expected 2, not 1",
                "  .b[1].c: expected 3, not 2",
                "  .gone: expected \"x\", not null",
                "  .there: expected null, not 1",
            ]
        );
    }

    #[test]
    fn a_shorter_array_differs() {
        assert_eq!(differences(&json!([1]), &json!([1, 2])).len(), 1);
    }
}
