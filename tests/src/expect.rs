//! The events of a test's processes, and whether they are the expected ones.

use std::fmt::{self, Display};

use serde_json::Value;

use crate::patience;

/// Events about the processes of a test, `session` and `loss` events.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// In the order in which they were printed.
    pub all: Vec<Value>,
}

impl Events {
    /// The events of one kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.all.iter().filter(move |event| event["kind"] == kind)
    }

    /// The `exit` events of one process.
    pub fn exits_of(&self, pid: u32) -> impl Iterator<Item = &Value> {
        self.of_kind("exit").filter(move |event| event["process"]["pid"] == pid)
    }

    /// The only `exit` of that process. Fails when there are none or two.
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

    /// How many events of any kind were lost, without those of [`Self::skipped`].
    pub fn lost(&self) -> u64 {
        self.losses(false)
    }

    /// How many events of one kind were lost, without those of [`Self::skipped`].
    pub fn lost_of(&self, kind: &str) -> u64 {
        let reported = self.of_kind("loss").filter(|event| event["at_most"] != true);
        reported.filter_map(|event| event["lost"][kind].as_u64()).sum()
    }

    /// How many exits the kernel skipped at most: it does not run the exit programs while another thread on the same
    /// processor was preempted inside them. Rare on an ordinary machine; happens in every storm on an emulated one,
    /// where a program takes a good part of a time slice.
    pub fn skipped(&self) -> u64 {
        self.losses(true)
    }

    fn losses(&self, at_most: bool) -> u64 {
        let reported = self.of_kind("loss").filter(|event| (event["at_most"] == true) == at_most);
        reported.map(|event| total(&event["lost"])).sum()
    }

    /// Whether an `exit` was reported for each of `sent` children of these parents, or a `loss` accounts for the
    /// missing ones.
    pub fn has_all(&self, parents: &[u32], sent: usize) -> bool {
        let lost = usize::try_from(self.lost_of("exit") + self.skipped()).expect("a count");
        let reported = self.reported_of(parents);
        reported <= sent && reported + lost >= sent
    }

    /// Asserts [`Self::has_all`].
    #[track_caller]
    pub fn assert_all_reported(&self, parents: &[u32], sent: usize) {
        self.assert_reported(parents, sent, self.has_all(parents, sent));
    }

    /// Asserts that an `exit` was reported for each of `sent` children of these parents, whatever else was lost. On a
    /// slow machine, skipped exits may account for missing ones.
    #[track_caller]
    pub fn assert_none_lost(&self, parents: &[u32], sent: usize) {
        let reported = self.reported_of(parents);
        let skipped = usize::try_from(self.skipped()).expect("a count");
        let all = reported == sent
            || patience::slow_machine() && reported < sent && reported + skipped >= sent;
        self.assert_reported(parents, sent, all);
    }

    #[track_caller]
    fn assert_reported(&self, parents: &[u32], sent: usize, all: bool) {
        let (reported, lost, skipped) =
            (self.reported_of(parents), self.lost_of("exit"), self.skipped());
        assert!(
            all,
            "{sent} ended, {reported} reported, {lost} lost, at most {skipped} skipped; {self}"
        );
    }

    fn reported_of(&self, parents: &[u32]) -> usize {
        parents.iter().map(|pid| self.exits_of_children(*pid).count()).sum()
    }
}

/// The sum of all numbers in nested objects.
fn total(counts: &Value) -> u64 {
    match counts {
        Value::Object(map) => map.values().map(total).sum(),
        Value::Array(items) => items.iter().map(total).sum(),
        other => other.as_u64().unwrap_or(0),
    }
}

impl Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = 8;
        write!(f, "{} events about processes of this test", self.all.len())?;
        // Losses explain missing events, so all of them are printed.
        for loss in self.of_kind("loss") {
            write!(f, "\n  {loss}")?;
        }
        for event in self.all.iter().rev().take(shown) {
            write!(f, "\n  {event}")?;
        }
        if self.all.len() > shown { write!(f, "\n  …") } else { Ok(()) }
    }
}

/// Asserts that `actual` has everything that `expected` has. Objects may have more keys; `null` stands for a key that
/// must be absent.
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
