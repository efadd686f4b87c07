//! The compiler call. BTF line information holds file names, and the object must not depend on this machine's
//! folders: every prefix of a file name is mapped to a fixed word.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::linker::Linker;
use super::rust_src::RustSrc;
use crate::{process, talk, workspace};

const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "observer-ebpf";

/// Lints that do not fit eBPF: old verifiers need functions inlined and values truncated rather than checked, ring
/// entries are byte arrays with typed headers, and entry points take their context by value.
const UNFIT: [&str; 7] = [
    "inline_always",
    "cast_possible_truncation",
    "cast_possible_wrap",
    "cast_ptr_alignment",
    "cast_sign_loss",
    "needless_pass_by_value",
    "verbose_bit_mask",
];

/// Compiles the eBPF crate and returns the file, which still has DWARF.
pub(super) fn build(rust_src: &RustSrc, linker: &Linker, locked: bool) -> Result<PathBuf> {
    let target_dir = workspace::target().join("ebpf");
    talk::step(&format!("compiling {PACKAGE} for {TARGET}"));
    // Fetched first: only then are the folders of the registry known, which have to be mapped.
    process::run(cargo(rust_src, linker, locked)?.args(["fetch", "--quiet"]))?;
    process::run(
        cargo(rust_src, linker, locked)?
            .args(["build", "--package", PACKAGE, "--bins", "--profile", "ebpf"])
            .args(["-Z", "build-std=core", "--target", TARGET, "--target-dir"])
            .arg(&target_dir),
    )?;
    Ok(target_dir.join(TARGET).join("ebpf").join(PACKAGE))
}

/// Clippy with the flags of the build, so that it checks the same code.
pub(super) fn clippy(rust_src: &RustSrc, linker: &Linker) -> Result<()> {
    process::run(
        cargo(rust_src, linker, false)?
            .args(["clippy", "--quiet", "--package", PACKAGE, "--bins", "--profile", "ebpf"])
            .args(["-Z", "build-std=core", "--target", TARGET, "--target-dir"])
            .arg(workspace::target().join("ebpf"))
            .args(["--", "-D", "warnings"])
            .args(UNFIT.map(|lint| format!("-Aclippy::{lint}"))),
    )
}

fn cargo(rust_src: &RustSrc, linker: &Linker, locked: bool) -> Result<std::process::Command> {
    let mut cargo = process::cargo();
    if locked {
        cargo.arg("--locked");
    }
    // `-Z build-std` is unstable; this lets the stable compiler take it.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(rust_src, linker)?);
    // A reproducible build must not depend on the caller's compiler, wrappers or flags.
    for key in
        ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_TARGET_DIR"]
    {
        cargo.env_remove(key);
    }
    Ok(cargo)
}

fn rustflags(rust_src: &RustSrc, linker: &Linker) -> Result<OsString> {
    let mut flags: Vec<OsString> = vec![
        "--cfg=bpf_target_arch=\"x86_64\"".into(),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        option("-Clinker=", &linker.path, ""),
        option("--remap-path-prefix=", &rust_src.dir, "=/rust"),
        option("--remap-path-prefix=", workspace::root(), "=/observer"),
    ];
    for registry in registries()? {
        flags.push(option("--remap-path-prefix=", &registry, "=/crates"));
    }
    Ok(flags.join("\x1f".as_ref()))
}

fn option(before: &str, path: &Path, after: &str) -> OsString {
    let mut option = OsString::from(before);
    option.push(path);
    option.push(after);
    option
}

/// Where cargo unpacks crates: one folder for each registry, whose name depends on the registry's address.
fn registries() -> Result<Vec<PathBuf>> {
    let home = match (env::var_os("CARGO_HOME"), env::home_dir()) {
        (Some(home), _) => PathBuf::from(home),
        (None, Some(home)) => home.join(".cargo"),
        (None, None) => anyhow::bail!("neither CARGO_HOME nor HOME is set"),
    };
    let sources = home.join("registry/src");
    if !sources.exists() {
        return Ok(Vec::new());
    }
    let mut found: Vec<PathBuf> = fs::read_dir(&sources)
        .and_then(|dir| dir.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("reading {}", sources.display()))?;
    found.sort();
    Ok(found)
}
