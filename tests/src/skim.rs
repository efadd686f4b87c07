//! Reads lines about other processes without parsing them: on a busy machine there are thousands a second, and
//! parsing one takes a debug build longer than the observer needs to make it.

use serde_json::Value;

use crate::{ours, sys};

/// What a test reads of a line.
pub enum Skimmed {
    /// A parsed event: it may be about a process of this test, or is about no process.
    Whole(Value),
    /// An event about other processes.
    Other {
        /// Its `seq`.
        seq: Option<u64>,
        /// Its kind.
        kind: String,
    },
}

/// Reads one line. An error when it is not JSON.
pub fn skim(line: &[u8]) -> Result<Skimmed, String> {
    let kind = after(line, b"\"kind\":\"").map(|rest| &rest[..sys::find(rest, b"\"").unwrap_or(0)]);
    let always = [&b"session"[..], b"loss", b"incident", b"flood"];
    let of_others = kind.filter(|kind| !always.contains(kind) && !names_one_of_ours(line));
    match of_others {
        Some(kind) => Ok(Skimmed::Other {
            seq: after(line, b"\"seq\":").and_then(number),
            kind: String::from_utf8_lossy(kind).into_owned(),
        }),
        None => whole(line),
    }
}

/// Parses one line, whichever process it is about.
pub fn whole(line: &[u8]) -> Result<Skimmed, String> {
    serde_json::from_slice(line).map(Skimmed::Whole).map_err(|why| why.to_string())
}

/// Whether any pid in it was added by the test.
fn names_one_of_ours(line: &[u8]) -> bool {
    let mut rest = line;
    while let Some(value) = after(rest, b"pid\":") {
        if number(value).is_some_and(ours::may_be) {
            return true;
        }
        rest = value;
    }
    false
}

fn after<'line>(line: &'line [u8], what: &[u8]) -> Option<&'line [u8]> {
    sys::find(line, what).map(|at| &line[at + what.len()..])
}

/// The number at its beginning.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn event_of_others_is_not_parsed() {
        let line = br#"{"seq":7,"kind":"exit","process":{"pid":4300001,"ppid":1}}"#;
        let Ok(Skimmed::Other { seq, kind }) = skim(line) else { panic!("parsed") };
        assert_eq!((seq, kind.as_str()), (Some(7), "exit"));
        let line = br#"{"kind":"listen","initial":true}"#;
        assert!(matches!(skim(line), Ok(Skimmed::Other { seq: None, .. })));
    }

    #[test]
    fn event_of_ours_and_one_of_nobody_are_whole() {
        ours::add(4_300_002, SystemTime::now());
        for line in [
            &br#"{"kind":"exit","process":{"pid":1,"ppid":4300002}}"#[..],
            br#"{"kind":"bind","holders":[{"process":{"pid":4300002}}]}"#,
            br#"{"kind":"loss","lost":{"exit":1}}"#,
            br#"{"no":"kind"}"#,
        ] {
            assert!(matches!(skim(line), Ok(Skimmed::Whole(_))), "{}", line.escape_ascii());
        }
        assert!(skim(b"{\"torn").is_err());
    }
}
