//! The command line, word by word. Words may be any bytes but NUL, since tests pass hostile ones.

use std::ffi::OsString;
use std::str::FromStr;
use std::vec::IntoIter;

/// The rest of the command line.
pub(crate) struct Args(IntoIter<OsString>);

impl Args {
    pub(crate) fn of_this_process() -> Self {
        Self(std::env::args_os().skip(1).collect::<Vec<_>>().into_iter())
    }

    pub(crate) fn os(&mut self, what: &str) -> Result<OsString, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    pub(crate) fn text(&mut self, what: &str) -> Result<String, String> {
        let word = self.os(what)?;
        word.into_string().map_err(|word| format!("{what} is not UTF-8: {}", word.display()))
    }

    pub(crate) fn number<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.text(what)?;
        word.parse().ok().ok_or_else(|| format!("{what} is not a number: {word:?}"))
    }

    /// The next word as a number; `default` when it is missing or not a number (tests pad command lines with unused
    /// words).
    pub(crate) fn number_or<T: FromStr>(&mut self, default: T) -> T {
        let word = self.0.next().and_then(|word| word.into_string().ok());
        word.and_then(|word| word.parse().ok()).unwrap_or(default)
    }

    /// All remaining words, for commands whose flags may come in any order.
    pub(crate) fn rest(self) -> Result<Vec<String>, String> {
        let text = |word: OsString| {
            word.into_string().map_err(|word| format!("not UTF-8: {}", word.display()))
        };
        self.0.map(text).collect()
    }
}
