//! The host's system: a Debian in a folder, made once and kept, and an initramfs of it for each run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{apt, process, talk, workspace};

/// What a run adds to the system.
pub(super) struct Parts<'a> {
    /// The package of observer.
    pub(super) package: &'a Path,
    /// The built shop.
    pub(super) shop: &'a Path,
    /// Which scenarios, by a part of their names; empty for all.
    pub(super) scenario: &'a str,
}

/// Makes the initramfs of a run in `run_dir`. The system itself is kept in `cache`.
pub(super) fn make(cache: &Path, run_dir: &Path, parts: &Parts<'_>) -> Result<PathBuf> {
    for (program, package) in [("debootstrap", "debootstrap"), ("cpio", "cpio")] {
        if process::find(program).is_none() {
            apt::install(&[package])?;
        }
    }
    let host = workspace::root().join("tests/host");
    let system = host.join("system");
    let text = fs::read(&system).context("reading tests/host/system")?;
    let (root, made_by) = (cache.join("root"), cache.join("made-by"));
    if fs::read(&made_by).map_or(true, |made_by| made_by != text) {
        talk::step("making a Debian with systemd, nginx, Node, PHP and others");
        script(&system, &[&root, Path::new(&apt::mirror())])?;
        fs::write(made_by, text)?;
    }
    talk::step("packing the host");
    let initrd = run_dir.join("host.cpio");
    let pack = host.join("pack");
    script(&pack, &[&root, &host, parts.package, parts.shop, Path::new(parts.scenario), &initrd])?;
    Ok(initrd)
}

/// Runs a script as root: the files of the system belong to many users.
fn script(path: &Path, args: &[&Path]) -> Result<()> {
    let mut bash = process::as_root("bash").context("this needs root or sudo")?;
    process::run_quietly(bash.arg(path).args(args))
}
