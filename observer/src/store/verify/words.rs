//! Describes a fault in words.

use anyhow::Result;

use super::files::{StoredLine, StoredLines};
use crate::{model::human, store::chain::Short};

/// What happened to an event that is not the sealed one. `expected`: the sealed one and those after it.
pub(super) fn describe(
    found: &StoredLine,
    expected: &[Short],
    after: &mut StoredLines,
) -> Result<String> {
    let next = after.next()?.map(|event| event.hash.short());
    let at = expected.iter().position(|short| *short == found.hash.short());
    Ok(match at {
        Some(1) if next == Some(expected[0]) => "it and the next one were swapped".to_owned(),
        Some(n) => format!(
            "{} before it {} removed",
            count_of(n as u64, "event"),
            if n == 1 { "was" } else { "were" }
        ),
        None if next == Some(expected[0]) => "it was inserted".to_owned(),
        None => "it was changed".to_owned(),
    })
}

pub(super) fn count(n: u64) -> String {
    count_of(n, "segment")
}

pub(super) fn count_of(n: u64, what: &str) -> String {
    human::count(n, what)
}
