//! `cargo xtask ebpf`: builds the eBPF object, which is checked in, or proves that it comes from its sources.

mod build;
mod linker;
mod rust_src;
mod strip;
mod tools;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::provenance::{self, MEND, OBJECT, RECORD, Recorded};
use crate::{talk, workspace};

/// Builds the object and writes it, with its record beside it.
pub(crate) fn write() -> Result<ExitCode> {
    let (bytes, made) = make(false)?;
    let root = workspace::root();
    let object = root.join(OBJECT);
    if let Some(dir) = object.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&object, &bytes).with_context(|| format!("writing {OBJECT}"))?;
    fs::write(root.join(RECORD), text(&made)).with_context(|| format!("writing {RECORD}"))?;
    talk::step(&format!("{OBJECT}: {} bytes, sha256 {}", bytes.len(), made.object));
    Ok(ExitCode::SUCCESS)
}

/// Builds the object and compares it with the one that is checked in.
pub(crate) fn check() -> Result<ExitCode> {
    let root = workspace::root();
    let mut problems: Vec<String> = provenance::stale(root)?.into_iter().collect();
    let (bytes, made) = make(true)?;
    if fs::read(root.join(OBJECT)).is_ok_and(|old| old != bytes) {
        problems.push(format!("{OBJECT} differs from what these sources give here: run `{MEND}`"));
        let recorded = provenance::recorded(root).unwrap_or_default();
        problems.extend(differences(&recorded.tools, &made.tools));
    }
    if problems.is_empty() {
        talk::step(&format!("{OBJECT} is byte for byte what its sources give"));
        return Ok(ExitCode::SUCCESS);
    }
    for problem in problems {
        talk::problem(&problem);
    }
    Ok(ExitCode::FAILURE)
}

/// Fails before anything is built if the object in the tree is not what these sources give.
pub(crate) fn require_fresh() -> Result<()> {
    match provenance::stale(workspace::root())? {
        Some(problem) => bail!(problem),
        None => Ok(()),
    }
}

/// Clippy of the eBPF crate, which compiles for its own target only.
pub(crate) fn clippy() -> Result<()> {
    build::clippy(&rust_src::ready()?, &linker::ready()?)
}

/// Builds and strips, in the target directory.
fn make(locked: bool) -> Result<(Vec<u8>, Recorded)> {
    let root = workspace::root();
    let rust_src = rust_src::ready()?;
    let linker = linker::ready()?;
    // If a file is saved while the compiler runs, the hash does not describe this object.
    let sources = provenance::source_hash(root)?;
    let built = build::build(&rust_src, &linker, locked)?;
    let bytes = strip::strip_dwarf(&fs::read(&built)?)?;
    if provenance::source_hash(root)? != sources {
        bail!("the sources changed while they were compiled; run `{MEND}` again");
    }
    fs::write(built.with_extension("stripped.o"), &bytes)?;
    let object = provenance::hex(&Sha256::digest(&bytes));
    Ok((bytes, Recorded { sources, object, tools: tools::versions(&rust_src, &linker)? }))
}

/// The record as it is written.
fn text(made: &Recorded) -> String {
    let mut lines = vec![
        format!("# Written by `{MEND}` beside the object it describes."),
        format!("sources = {}", made.sources),
        format!("object = {}", made.object),
    ];
    lines.extend(made.tools.iter().map(|(tool, version)| format!("{tool} = {version}")));
    lines.join("\n") + "\n"
}

/// Tools of another version than recorded: the likely reason for other bytes from the same sources.
fn differences(recorded: &[(String, String)], here: &[(String, String)]) -> Vec<String> {
    here.iter()
        .filter(|tool| !recorded.contains(tool))
        .map(|(tool, version)| {
            let before = recorded.iter().find(|(name, _)| name == tool);
            let before = before.map_or("nothing", |(_, version)| version);
            format!("{tool} is {version} here; {RECORD} has {before}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn unchanged_tools_are_not_named() {
        let tool = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let recorded = [tool("rustc", "1.95.0"), tool("llvm", "22.1.8")];
        let here = [tool("rustc", "1.95.0"), tool("llvm", "22.1.9")];
        let said = differences(&recorded, &here);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("llvm is 22.1.9 here"));
    }
}
