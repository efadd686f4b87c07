//! bpf-linker, pinned: its LLVM generates the object's code, so another version gives other bytes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{apt, process, talk, workspace};

const VERSION: &str = "0.13.0";
/// The LLVM release of rustc: no older release can read its bitcode.
const LLVM: &str = "22";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const PACKAGES: [&str; 4] = ["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev"];

/// The linker, found or installed.
pub(super) struct Linker {
    /// The program.
    pub(super) path: PathBuf,
    /// Its version.
    pub(super) version: &'static str,
}

/// Finds the pinned linker, or builds it.
pub(super) fn ready() -> Result<Linker> {
    let own_root = workspace::target().join("tools");
    let on_path = process::find("bpf-linker");
    let candidates = [on_path.clone(), Some(own_root.join("bin/bpf-linker")), in_cargo_home()];
    for path in candidates.into_iter().flatten() {
        if is_pinned(&path) {
            return Ok(Linker { path, version: VERSION });
        }
    }
    talk::step(&format!("bpf-linker {VERSION} is missing"));
    // Another version on PATH is left alone; the pinned one goes into the target directory.
    let install_root = on_path.is_some().then_some(own_root.as_path());
    install(install_root).with_context(|| {
        format!("bpf-linker {VERSION} with LLVM {LLVM} could not be set up; see CONTRIBUTING.md, \"The eBPF side\"")
    })?;
    let path = match install_root {
        Some(root) => root.join("bin/bpf-linker"),
        None => in_cargo_home().context("neither CARGO_HOME nor HOME is set")?,
    };
    if !is_pinned(&path) {
        bail!("{} is missing after its installation", path.display());
    }
    Ok(Linker { path, version: VERSION })
}

/// Version of the LLVM that the linker is linked with, such as `22.1.8`.
pub(super) fn llvm_version(linker: &Linker) -> Result<String> {
    let said = process::read(Command::new(&linker.path).args([
        "--llvm-args=--version",
        "-o",
        "/dev/null",
        "/dev/null",
    ]))?;
    let mut words = said.split_whitespace();
    words
        .find(|word| *word == "version")
        .and_then(|_| words.next())
        .map(str::to_owned)
        .with_context(|| format!("bpf-linker does not print its LLVM's version: {said}"))
}

fn is_pinned(path: &Path) -> bool {
    Command::new(path).arg("--version").output().is_ok_and(|output| {
        output.stdout.trim_ascii() == format!("bpf-linker {VERSION}").as_bytes()
    })
}

fn in_cargo_home() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")))?;
    Some(home.join("bin/bpf-linker"))
}

fn install(root: Option<&Path>) -> Result<()> {
    if !Path::new(LLVM_PREFIX).join("lib/libLLVM.so").exists() {
        apt::install(&PACKAGES).context(
            "LLVM 22 with its headers is needed; Debian has it, and https://apt.llvm.org for other releases",
        )?;
    }
    talk::step(&format!("building bpf-linker {VERSION}, about a minute"));
    let mut cargo = process::cargo();
    cargo.args(["install", "--quiet", "--locked", "bpf-linker", "--version", VERSION]);
    cargo.args(["--no-default-features", "--features", "llvm-22"]);
    cargo.env("LLVM_PREFIX", LLVM_PREFIX).env("LLVM_SYS_221_PREFIX", LLVM_PREFIX);
    if let Some(root) = root {
        cargo.arg("--root").arg(root);
    }
    process::run(&mut cargo)
}
