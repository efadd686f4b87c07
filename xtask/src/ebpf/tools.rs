//! Versions of the tools that build the object.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use super::linker::{self, Linker};
use super::rust_src::{self, RustSrc};
use crate::{process, provenance};

/// Name and version of each tool, for PROVENANCE.
pub(super) fn versions(rust_src: &RustSrc, linker: &Linker) -> Result<Vec<(String, String)>> {
    let rustc = process::read(rust_src::rustc().arg("--version"))?;
    let tools = [
        ("rustc", rustc.trim_start_matches("rustc ").to_owned()),
        ("rust-src", format!("{}, core {}", rust_src.version, core_hash(&rust_src.dir)?)),
        ("bpf-linker", linker.version.to_owned()),
        ("llvm", linker::llvm_version(linker)?),
    ];
    Ok(tools.map(|(name, version)| (name.to_owned(), version)).into())
}

/// The sources have no version of their own, and a distribution may patch them: a hash identifies them.
fn core_hash(rust_src: &Path) -> io::Result<String> {
    let core = rust_src.join("library/core/src");
    let mut files = Vec::new();
    collect(&core, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(file)?);
    }
    Ok(provenance::hex(&hash.finalize()[..8]))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
