//! `cargo xtask fuzz`: fuzzes every reader of outside bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{process, talk, workspace};

const VERSION: &str = "0.13.2";

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each target runs, in seconds
    #[arg(long, value_name = "N", default_value_t = 120)]
    seconds: u32,
    /// Which targets; all of them if none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Runs the targets one after the other, also after one has failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let all = targets()?;
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("no target {unknown}; the targets are {}", all.join(", "));
    }
    let chosen = if options.targets.is_empty() { &all } else { &options.targets };
    let tool = ready()?;
    talk::step("building the targets");
    let mut build = Command::new(&tool);
    prepare(&mut build, "build");
    process::run(&mut build)?;
    let mut found = Vec::new();
    for target in chosen {
        talk::step(&format!("{target}, for {} s", options.seconds));
        if !process::status(&mut one(&tool, target, options.seconds)?)?.success() {
            found.push(target.as_str());
        }
    }
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    talk::problem(&format!("failed: {}", found.join(", ")));
    talk::note("the inputs are in fuzz/artifacts; fuzz/README.md says how to repeat them");
    Ok(ExitCode::FAILURE)
}

/// Names of the targets.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        names.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// One run of one target. New inputs go to `corpus`, which git ignores.
fn one(tool: &Path, target: &str, seconds: u32) -> Result<Command> {
    let corpus = workspace::root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
    let mut command = Command::new(tool);
    prepare(&mut command, "run");
    command.arg(target).arg(corpus).arg(workspace::root().join("fuzz/seeds").join(target));
    command.args(["--", "-timeout=10", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}"));
    Ok(command)
}

/// RUSTC_BOOTSTRAP lets the pinned stable compiler take the sanitizers' flags.
fn prepare(command: &mut Command, verb: &str) {
    command.current_dir(workspace::root()).args(["fuzz", verb, "--fuzz-dir", "fuzz"]);
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_DIR", workspace::target().join("fuzz"));
}

/// Finds cargo-fuzz of this version, or builds it into the target directory.
fn ready() -> Result<PathBuf> {
    let root = workspace::target().join("tools");
    let own = root.join("bin/cargo-fuzz");
    let is_pinned = |path: &PathBuf| {
        Command::new(path).args(["fuzz", "--version"]).output().is_ok_and(|output| {
            output.stdout.trim_ascii() == format!("cargo-fuzz {VERSION}").as_bytes()
        })
    };
    let found = [process::find("cargo-fuzz"), Some(own.clone())];
    if let Some(path) = found.into_iter().flatten().find(is_pinned) {
        return Ok(path);
    }
    talk::step(&format!("building cargo-fuzz {VERSION}, about a minute"));
    let mut cargo = process::cargo();
    cargo.args(["install", "--quiet", "--locked", "cargo-fuzz", "--version", VERSION]);
    process::run(cargo.arg("--root").arg(root))?;
    Ok(own)
}
