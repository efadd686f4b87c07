//! `cargo xtask test`: everything this machine can prove.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::build::{self, Build};
use crate::{process, talk, workspace};

/// Runs unit, documentation, command line and replay tests as whoever we are, the live ones as root.
pub(crate) fn run(live_args: &[String]) -> Result<ExitCode> {
    talk::step("building observer, the workload and the live tests");
    let observer = build::observer(Build::Release)?;
    let workload = build::workload(Build::Debug)?;
    let live = build::live_tests(Build::Debug)?;
    let paths =
        [path_variable("OBSERVER_BIN", &observer), path_variable("WORKLOAD_BIN", &workload)];

    // One failure does not hide the others: all of it runs.
    talk::step("unit and documentation tests");
    let mut unit = process::cargo();
    unit.args(["test", "--no-fail-fast", "--workspace"]);
    unit.args(["--exclude", "observer-ebpf", "--exclude", "observer-tests"]);
    let mut good = process::status(&mut unit)?.success();

    talk::step("tests of the real binary that need no root");
    let mut rootless = process::cargo();
    rootless.args(["test", "--no-fail-fast", "--package", "observer-tests", "--lib", "--bins"]);
    for target in rootless_targets()? {
        rootless.args(["--test", &target]);
    }
    rootless.env("OBSERVER_BIN", &observer).env("WORKLOAD_BIN", &workload);
    good &= process::status(&mut rootless)?.success();

    talk::step("live tests on this machine's kernel");
    let mut command = process::as_root("env").unwrap_or_else(|| {
        talk::note("neither root nor sudo here: the live tests will say what they skip");
        Command::new("env")
    });
    command.args(paths).arg(&live).args(live_args).current_dir(workspace::root());
    good &= process::status(&mut command)?.success();

    if !good {
        talk::problem("a test failed, see above");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sudo drops the environment, so that `env` has to set it on the other side.
fn path_variable(name: &str, path: &Path) -> OsString {
    let mut assignment = OsString::from(name);
    assignment.push("=");
    assignment.push(path);
    assignment
}

/// The test targets of the tests package, without the live one, which is run by hand as root.
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
