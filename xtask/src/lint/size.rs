//! A source file has one subject, and 400 lines at most.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

const LIMIT: usize = 400;
const ENDINGS: [&str; 2] = ["rs", "sh"];
const FOLDERS: [&str; 8] = [
    "observer",
    "observer-common",
    "observer-ebpf",
    "packaging",
    "tests",
    "fuzz/src",
    "fuzz/targets",
    "xtask",
];
/// Files that may be longer, each with its reason.
const EXEMPT: [(&str, &str); 0] = [];

/// Fails if a source file is too long, and names each.
pub(super) fn check() -> Result<()> {
    let root = workspace::root();
    let mut files = Vec::new();
    for folder in FOLDERS {
        files.extend(self::files(&root.join(folder))?);
    }
    let mut long = Vec::new();
    for file in files {
        let lines = fs::read_to_string(&file)?.lines().count();
        let name = file.strip_prefix(root)?.display().to_string();
        if lines > LIMIT && !EXEMPT.iter().any(|(exempt, _)| *exempt == name) {
            long.push(format!("{name} has {lines} lines"));
        }
    }
    if !long.is_empty() {
        bail!(
            "{}; the limit is {LIMIT}: split the file by subject, or give a reason in {}",
            long.join(", "),
            file!()
        );
    }
    Ok(())
}

/// Every source file below a folder, in the order of their names.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|one| ending == *one)) {
            files.push(path);
        }
    }
    Ok(())
}
