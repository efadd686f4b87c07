//! rust-src of the pinned compiler version: `core` is built for BPF from it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::apt::PrivateApt;
use crate::{process, talk, workspace};

/// How long rustup may take before its servers count as unreachable.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);
/// The Debian suite that has the compiler versions of the last months.
const SUITE: &str = "trixie-backports";

/// The sources, found or installed.
pub(super) struct RustSrc {
    /// `lib/rustlib/src/rust` of the toolchain.
    pub(super) dir: PathBuf,
    /// Version of the compiler and of the sources.
    pub(super) version: String,
}

/// Finds the sources, or installs them.
pub(super) fn ready() -> Result<RustSrc> {
    let sysroot = PathBuf::from(process::read(rustc().args(["--print", "sysroot"]))?);
    let verbose = process::read(rustc().arg("-vV"))?;
    let version = verbose
        .lines()
        .find_map(|line| line.strip_prefix("release: "))
        .context("rustc does not say its release")?
        .to_owned();
    let found = RustSrc { dir: sysroot.join("lib/rustlib/src/rust"), version };
    if found.complete() {
        return Ok(found);
    }
    talk::step(&format!("rust-src {} is missing in {}", found.version, sysroot.display()));
    if !from_rustup(&sysroot)? || !found.complete() {
        from_debian(&found).with_context(|| {
            format!(
                "rust-src {} could not be set up; by hand: `rustup component add rust-src`, or put the folder \
                 `library` of Rust's sources of that version at {}",
                found.version,
                found.library().display()
            )
        })?;
    }
    if !found.complete() {
        bail!("{} is still not complete", found.library().display());
    }
    Ok(found)
}

impl RustSrc {
    fn library(&self) -> PathBuf {
        self.dir.join("library")
    }

    fn complete(&self) -> bool {
        ["Cargo.toml", "Cargo.lock", "core/src/lib.rs"]
            .iter()
            .all(|file| self.library().join(file).exists())
    }
}

/// The compiler that this workspace pins.
pub(super) fn rustc() -> Command {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(workspace::root());
    rustc
}

/// True if rustup reported success.
fn from_rustup(sysroot: &Path) -> Result<bool> {
    if process::find("rustup").is_none() {
        return Ok(false);
    }
    let toolchain = env::var_os("RUSTUP_TOOLCHAIN")
        .or_else(|| sysroot.file_name().map(ToOwned::to_owned))
        .context("the toolchain has no name")?;
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "rust-src", "--toolchain"]).arg(&toolchain);
    rustup.env("RUSTUP_MAX_RETRIES", "1");
    talk::step(&format!("{} (for at most {RUSTUP_LIMIT:?})", process::line(&rustup)));
    let done = process::succeeds_within(&mut rustup, RUSTUP_LIMIT)?;
    if !done {
        talk::note(
            "rustup failed: its servers are unreachable, or it does not manage this toolchain",
        );
    }
    Ok(done)
}

/// Takes the library from Debian's package of the same upstream version.
fn from_debian(wanted: &RustSrc) -> Result<()> {
    let scratch = workspace::target().join("apt-rust-src");
    let unpacked = scratch.join("unpacked");
    let apt = PrivateApt::new(&scratch, &[SUITE])?;
    apt.unpack(&format!("rust-src={}*", wanted.version), &unpacked)?;
    let library = unpacked.join(format!("usr/src/rustc-{}/library", wanted.version));
    talk::step(&format!("copying its library to {}", wanted.library().display()));
    fs::create_dir_all(&wanted.dir)
        .with_context(|| format!("{} can't be written", wanted.dir.display()))?;
    // Copied beside it and renamed, so that an interrupted copy is never taken for a complete one.
    let partial = wanted.dir.join("library.partial");
    for leftover in [&partial, &wanted.library()] {
        if leftover.exists() {
            fs::remove_dir_all(leftover)?;
        }
    }
    process::run(Command::new("cp").arg("-a").args([&library, &partial]))?;
    fs::rename(&partial, wanted.library())?;
    fs::remove_dir_all(&scratch)?;
    Ok(())
}
