//! What a fault is, in words.

use anyhow::Result;

use super::files::{Record, Records};
use crate::{model::human, store::chain::Short};

/// What happened to a record that is not the one that was sealed: `expected` and those after it should follow.
pub(super) fn describe(found: &Record, expected: &[Short], after: &mut Records) -> Result<String> {
    let next = after.next()?.map(|record| record.hash.short());
    let at = expected.iter().position(|short| *short == found.hash.short());
    Ok(match at {
        Some(1) if next == Some(expected[0]) => "it and the next one were swapped".to_owned(),
        Some(n) => format!(
            "{} before it {} removed",
            count_of(n as u64, "record"),
            if n == 1 { "was" } else { "were" }
        ),
        None if next == Some(expected[0]) => "it was put in between".to_owned(),
        None => "it was changed".to_owned(),
    })
}

pub(super) fn count(n: u64) -> String {
    count_of(n, "segment")
}

pub(super) fn count_of(n: u64, what: &str) -> String {
    human::count(n, what)
}
