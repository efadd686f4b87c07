//! The shop of the scenarios: a NestJS application from npm, built before the host boots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{apt, process, talk, workspace};

/// What it is built from.
const SOURCES: [&str; 4] = ["package.json", "package-lock.json", "tsconfig.json", "src/main.ts"];

/// Builds it below `cache`, unless what is there was built from the same sources; gives its folder.
pub(super) fn build(cache: &Path) -> Result<PathBuf> {
    let (from, dir) = (workspace::root().join("tests/host/shop"), cache.join("shop"));
    let sources: Vec<Vec<u8>> = SOURCES
        .iter()
        .map(|name| fs::read(from.join(name)).with_context(|| format!("reading {name}")))
        .collect::<Result<_>>()?;
    let (sources, built_from) = (sources.concat(), dir.join("built-from"));
    if fs::read(&built_from).is_ok_and(|built_from| built_from == sources) {
        return Ok(dir);
    }
    if process::find("npm").is_none() {
        apt::install(&["npm"])?;
    }
    talk::step("building the shop: npm ci, tsc");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(dir.join("src"))?;
    for name in SOURCES {
        fs::copy(from.join(name), dir.join(name))?;
    }
    // No package needs its install scripts, which would run on this machine.
    npm(&dir, &["ci", "--ignore-scripts"])?;
    npm(&dir, &["exec", "--offline", "--", "tsc"])?;
    npm(&dir, &["prune", "--omit=dev", "--ignore-scripts"])?;
    fs::write(built_from, sources)?;
    Ok(dir)
}

fn npm(dir: &Path, words: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["--no-audit", "--no-fund", "--no-update-notifier"]).args(words).current_dir(dir);
    process::run_quietly(&mut npm)
}
