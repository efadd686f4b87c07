//! `cargo xtask deb`: the Debian package: static binary, unit, settings, manual pages, completions, documentation.
//!
//! debhelper writes the maintainer scripts, so that the service starts, restarts and stops as in every Debian package.

mod check;
mod install;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::build::{self, Build};
use crate::{apt, process, talk, workspace};

const TOOLS: [&str; 2] = ["debhelper", "lintian"];
/// The version of the workspace, and the Debian revision.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");

/// Options of `cargo xtask deb`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Put the package into this folder instead of target/deb
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Also install, use and purge it on this machine, and check that nothing is left; needs root
    #[arg(long)]
    install: bool,
}

impl Options {
    /// All checks, including the installation on this machine.
    pub(crate) fn every_check() -> Self {
        Self { output: None, install: true }
    }
}

/// Builds the package and checks it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let package = put(&package()?, options.output.as_deref())?;
    let work = workspace::target().join("deb");

    talk::step("lintian");
    check::lintian(&package)?;
    talk::step("contents, modes, owners");
    check::contents(&package, &work.join("unpacked"))?;
    talk::step("hardening of the unit");
    check::hardening(&work.join("unpacked"))?;
    if options.install {
        talk::step("installing, using and purging the package");
        install::round_trip(&package)?;
    }
    talk::note(&format!("{} ({} bytes)", package.display(), fs::metadata(&package)?.len()));
    Ok(ExitCode::SUCCESS)
}

/// Builds the package and returns its path.
pub(crate) fn package() -> Result<PathBuf> {
    apt::install(&TOOLS)?;
    talk::step("building the static binary");
    let binary = build::observer(Build::StaticRelease)?;
    let work = workspace::target().join("deb");
    let source = work.join("source");
    stage::lay_out(&source, &binary, VERSION)?;

    talk::step("building the package");
    let mut rules = Command::new("debian/rules");
    // Fixed language and time: the same commit gives the same package.
    rules.arg("binary").current_dir(&source).env("LC_ALL", "C.UTF-8");
    rules.env("SOURCE_DATE_EPOCH", stage::time_of_commit()?);
    // As dpkg-buildpackage reads it from debian/control: files in the package belong to root, whoever builds it.
    rules.env("DEB_RULES_REQUIRES_ROOT", "no");
    process::run_quietly(&mut rules)?;

    // debhelper puts it beside the folder it was made in.
    let name = format!("observer_{VERSION}_amd64.deb");
    Ok(work.join(name))
}

/// Moves the package by a copy, since the folder may be on another file system.
fn put(package: &Path, output: Option<&Path>) -> Result<PathBuf> {
    let Some(output) = output else { return Ok(package.to_owned()) };
    let to = output.join(package.file_name().context("the package has no name")?);
    fs::create_dir_all(output).with_context(|| format!("creating {}", output.display()))?;
    fs::copy(package, &to).with_context(|| format!("writing {}", to.display()))?;
    fs::remove_file(package)?;
    Ok(to)
}
