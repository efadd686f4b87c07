//! `cargo xtask test`: every test this machine can run, or with `--quick` those that need neither root nor much time.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::build::{self, Build};
use crate::{ebpf, process, talk, workspace};

/// Options of `cargo xtask test`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Leave out the live tests, which need root, and the optimized build they use
    #[arg(long, conflicts_with = "live_args")]
    pub(crate) quick: bool,
    /// Arguments of the live tests, such as a filter
    #[arg(last = true)]
    live_args: Vec<String>,
}

/// Runs the tests, also after one has failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ebpf::require_fresh()?;
    let good = if options.quick { quick()? } else { full(&options.live_args)? };
    if !good {
        talk::problem("a test failed, see above");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn quick() -> Result<bool> {
    talk::step("building observer and the workload, without optimization");
    let observer = build::observer(Build::Debug)?;
    let workload = build::workload(Build::Debug)?;
    let mut good = unit()?;
    good &= rootless(&observer, &workload)?;
    talk::note("left out: the live tests (`cargo xtask test`, as root or with sudo),");
    talk::note("other kernels (`cargo xtask guests`), lints (`cargo xtask lint`)");
    Ok(good)
}

/// The live tests as root, all others as the user who runs this.
fn full(live_args: &[String]) -> Result<bool> {
    talk::step("building observer, the workload and the live tests");
    let observer = build::observer(Build::Live)?;
    let workload = build::workload(Build::Debug)?;
    let live = build::live_tests(Build::Debug)?;
    let mut good = unit()?;
    good &= rootless(&observer, &workload)?;

    talk::step("live tests on this machine's kernel");
    let mut command = process::as_root("env").unwrap_or_else(|| {
        talk::note("neither root nor sudo here: the live tests list what they skip");
        Command::new("env")
    });
    let paths =
        [path_variable("OBSERVER_BIN", &observer), path_variable("WORKLOAD_BIN", &workload)];
    command.args(paths).arg(&live).args(live_args).current_dir(workspace::root());
    good &= process::status(&mut command)?.success();
    Ok(good)
}

/// Tests beside the code, replay of captures, examples in the documentation.
fn unit() -> Result<bool> {
    talk::step("unit, replay and documentation tests");
    let mut cargo = process::cargo();
    cargo.args(["test", "--no-fail-fast", "--workspace"]);
    cargo.args(["--exclude", "observer-ebpf", "--exclude", "observer-tests"]);
    Ok(process::status(&mut cargo)?.success())
}

/// Tests of that binary that need no root.
fn rootless(observer: &Path, workload: &Path) -> Result<bool> {
    talk::step("command line tests of the binary");
    let mut cargo = process::cargo();
    cargo.args(["test", "--no-fail-fast", "--package", "observer-tests"]);
    cargo.args(["--lib", "--bins"]);
    for target in rootless_targets()? {
        cargo.args(["--test", &target]);
    }
    cargo.env("OBSERVER_BIN", observer).env("WORKLOAD_BIN", workload);
    Ok(process::status(&mut cargo)?.success())
}

/// An argument of `env`, since sudo drops the environment.
fn path_variable(name: &str, path: &Path) -> OsString {
    let mut assignment = OsString::from(name);
    assignment.push("=");
    assignment.push(path);
    assignment
}

/// The test targets of the tests package but the live one, which runs as root.
fn rootless_targets() -> Result<Vec<String>> {
    let dir = workspace::root().join("tests/tests");
    let mut targets = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        let is_target = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        targets.extend(name.filter(|name| is_target && name != "live"));
    }
    targets.sort();
    Ok(targets)
}
