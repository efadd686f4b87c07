//! The guest's output: what happened, as the workload prints it, and what each tool printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// All that the guest's script printed, by kind.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Output of each tool.
    pub(super) files: BTreeMap<String, Vec<String>>,
    /// How each tool was called.
    pub(super) commands: BTreeMap<String, String>,
    pub(super) versions: BTreeMap<String, String>,
    /// Tools that did not load, and their last line.
    pub(super) unable: BTreeMap<String, String>,
    truths: BTreeMap<String, Truth>,
}

/// What happened in one case.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth(BTreeMap<String, String>);

impl Output {
    /// Sorts the lines.
    pub(super) fn read(lines: &[String]) -> Result<Self> {
        let mut output = Self::default();
        let mut file: Option<(String, Vec<String>)> = None;
        for line in lines {
            if let Some((name, mut text)) = file.take() {
                if line == "end" {
                    output.files.insert(name, text);
                } else {
                    text.push(line.clone());
                    file = Some((name, text));
                }
                continue;
            }
            let mut words = line.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next(), words.next().unwrap_or(""));
            let Some(name) = name else { continue };
            let (name, rest) = (name.to_owned(), rest.to_owned());
            match word {
                Some("begin") => file = Some((name, Vec::new())),
                Some("command") => drop(output.commands.insert(name, rest)),
                Some("version") => drop(output.versions.insert(name, rest)),
                Some("unable") => {
                    output.unable.insert(name.trim_end_matches(':').to_owned(), rest);
                }
                Some("truth") => drop(output.truths.insert(name, Truth::read(&rest))),
                _ => {}
            }
        }
        match file {
            Some((name, _)) => bail!("the guest's output ends within {name}"),
            None => Ok(output),
        }
    }

    /// What happened in that case.
    pub(super) fn truth(&self, case: &str) -> Result<&Truth> {
        self.truths
            .get(case)
            .with_context(|| format!("the workload did not print what happened in case {case}"))
    }

    /// Output of that tool; empty if there is none.
    pub(super) fn file(&self, name: &str) -> &[String] {
        self.files.get(name).map_or(&[], Vec::as_slice)
    }

    /// Writes each file as it was in the guest.
    pub(super) fn keep(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        for (name, lines) in &self.files {
            fs::write(dir.join(name), lines.join("\n") + "\n")?;
        }
        Ok(())
    }
}

impl Truth {
    /// `key=value key=value`.
    pub(super) fn read(text: &str) -> Self {
        let pairs = text.split(' ').filter_map(|word| word.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn get<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.parse().ok()
    }

    /// Values separated by commas; may be empty.
    pub(super) fn list<T: FromStr, C: FromIterator<T>>(&self, key: &str) -> Option<C> {
        let words = self.text(key)?.split(',').filter(|word| !word.is_empty());
        words.map(|word| word.parse().ok()).collect()
    }
}
