//! Which module of `observer/src` may import which: every arrow points down.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::source::{self, Source};
use crate::workspace;

/// Each top module of the crate, and what it may import. A row names rows below it only, so there is no circle.
/// An entry with `::` allows that part alone. All may import `error`.
#[rustfmt::skip]
const LAYERS: &[(&str, &[&str])] = &[
    ("lib", &[]), // declares the modules and uses none
    ("main", &["commands", "service", "engine", "format", "store", "kernel", "logging", "cli"]),
    ("commands", &[
        "service", "engine", "format", "stdout", "store", "diagnose", "enrich", "kernel", "decode",
        "logging", "cli", "subject", "filter", "sanitize", "model",
    ]),
    ("service", &[
        "engine", "format", "store", "diagnose", "enrich", "kernel", "decode", "logging", "subject", "filter", "model",
        // The resolved settings; arguments go no further than commands.
        "cli::config", "cli::Settings", "cli::Exits", "cli::Switch", "cli::MetricsAddress",
    ]),
    ("engine", &["diagnose", "enrich", "kernel", "decode", "logging", "model"]),
    ("format", &["store", "diagnose", "subject", "filter", "sanitize", "model"]), // of diagnose, its public data
    ("stdout", &["sanitize", "model"]), // standard output: only commands write to it
    ("store", &["logging", "subject", "filter", "model"]),
    ("diagnose", &["enrich", "kernel", "decode", "model"]), // purity.rs: no I/O
    ("enrich", &["kernel", "decode", "logging", "model"]),
    ("kernel", &["decode", "logging", "model"]),
    ("decode", &["model"]), // purity.rs: no I/O
    ("logging", &["sanitize"]),
    ("cli", &["subject", "filter", "model"]),
    ("subject", &["model"]),
    ("filter", &["model"]),
    ("sanitize", &[]), // makes bytes of others safe for a terminal
    ("model", &[]), // the public words; purity.rs: no types of the kernel
    ("error", &[]),
];

/// Imports that break a rule: the file below `observer/src`, the module, and why it may.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// Fails on an arrow that LAYERS does not have, and on an exception that nothing needs any more.
pub(super) fn check() -> Result<()> {
    let sources = source::read(&workspace::root().join("observer/src"))?;
    let problems = problems(&sources, &EXCEPTIONS);
    if !problems.is_empty() {
        bail!("{} (the rules are LAYERS in {})\n{}", problems.len(), file!(), problems.join("\n"));
    }
    Ok(())
}

fn problems(sources: &[Source], exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let (mut problems, mut needed) = (Vec::new(), BTreeSet::new());
    for source in sources {
        let Some(allowed) = row(source.module()) else {
            problems.push(format!(
                "observer/src/{}: module `{}` has no row",
                source.name,
                source.module()
            ));
            continue;
        };
        let mut seen = BTreeSet::new();
        for mention in &source.mentions {
            let Some(path) = mention.path.strip_prefix("crate::") else { continue };
            let to = path.split("::").next().unwrap_or(path);
            if may(source.module(), allowed, path) || !seen.insert((mention.line, to)) {
                continue;
            }
            if exceptions.iter().any(|(file, module, _)| (*file, *module) == (&*source.name, to)) {
                needed.insert((source.name.as_str(), to));
                continue;
            }
            problems.push(format!(
                "observer/src/{}:{}: imports crate::{to}: {}",
                source.name,
                mention.line,
                rule(source.module(), allowed)
            ));
        }
    }
    let unused = exceptions.iter().filter(|(file, module, _)| !needed.contains(&(*file, *module)));
    problems.extend(unused.map(|(file, module, _)| {
        format!("observer/src/{file}: imports no crate::{module}: remove its line from EXCEPTIONS")
    }));
    problems
}

fn row(module: &str) -> Option<&'static [&'static str]> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed)
}

/// Whether a module may name that path below `crate`.
fn may(module: &str, allowed: &[&str], path: &str) -> bool {
    allowed.iter().chain(&[module, "error"]).any(|entry| {
        path.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

fn rule(module: &str, allowed: &[&str]) -> String {
    let all: Vec<&str> = allowed.iter().copied().chain(["error"]).collect();
    format!("`{module}` may import only {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::source::{Mention, Source};
    use super::{EXCEPTIONS, LAYERS, problems};

    fn source(name: &str, path: &str) -> Source {
        let mentions = vec![Mention { line: 9, path: path.to_owned() }];
        Source { name: name.to_owned(), mentions }
    }

    #[test]
    fn each_row_imports_only_rows_below_it() {
        for (index, (name, allowed)) in LAYERS.iter().enumerate() {
            for entry in *allowed {
                let module = entry.split("::").next();
                let below = LAYERS[index + 1..].iter().any(|(below, _)| Some(*below) == module);
                assert!(below, "{name} imports {entry}");
            }
        }
        assert!(EXCEPTIONS.iter().all(|(_, _, reason)| !reason.is_empty()));
    }

    #[test]
    fn a_violation_names_file_line_import_and_rule() {
        let said = problems(&[source("diagnose/bind.rs", "crate::format::text::Line")], &[]);
        let rule = "`diagnose` may import only enrich, kernel, decode, model, error";
        assert_eq!(
            said,
            [format!("observer/src/diagnose/bind.rs:9: imports crate::format: {rule}")]
        );
    }

    #[test]
    fn imports_within_a_module_and_downwards_are_fine() {
        for (name, path) in [
            ("model/event.rs", "crate::model::Time"),
            ("model/event.rs", "crate::error::Clue"),
            ("engine/live.rs", "crate::kernel::load"),
            ("service/mod.rs", "crate::cli::config::Config"),
            ("main.rs", "crate::commands::run"),
            ("decode/raw.rs", "std::mem::size_of"),
        ] {
            assert_eq!(problems(&[source(name, path)], &[]), [""; 0], "{name} {path}");
        }
        assert_eq!(problems(&[source("service/mod.rs", "crate::cli::Cli")], &[]).len(), 1);
    }

    #[test]
    fn an_exception_holds_as_long_as_it_is_needed() {
        let exceptions = [("store/open.rs", "kernel", "the clock")];
        let needed = source("store/open.rs", "crate::kernel::clock::Clock");
        assert_eq!(problems(&[needed], &exceptions), [""; 0]);
        let said = problems(&[source("store/open.rs", "crate::model::Time")], &exceptions);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("remove its line from EXCEPTIONS"), "{said:?}");
    }

    #[test]
    fn a_new_module_needs_a_row() {
        let said = problems(&[source("sources/journal.rs", "crate::model::Time")], &[]);
        assert_eq!(said, ["observer/src/sources/journal.rs: module `sources` has no row"]);
    }
}
