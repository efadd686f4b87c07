//! `cargo xtask lint`: checks that do not run the code.

mod arrows;
mod purity;
mod size;
mod source;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{ebpf, process, talk};

/// A check and its name.
type Check = (&'static str, fn() -> Result<()>);

/// Runs every check, also after one has failed.
pub(crate) fn run() -> ExitCode {
    let checks: [Check; 8] = [
        ("format", format),
        ("clippy", clippy),
        ("clippy of the eBPF side", ebpf::clippy),
        ("module arrows", arrows::check),
        ("modules without I/O", purity::check),
        ("file sizes", size::check),
        ("lock file of the fuzz targets", fuzz_lock),
        ("licences and sources of dependencies", dependencies),
    ];
    let mut good = true;
    for (name, check) in checks {
        talk::step(name);
        if let Err(error) = check() {
            talk::problem(&format!("{name}: {error:#}"));
            good = false;
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn format() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    process::run(
        process::cargo()
            .args(["clippy", "--quiet", "--workspace", "--exclude", "observer-ebpf"])
            .args(["--all-targets", "--", "-D", "warnings"]),
    )
}

/// fuzz/ is its own workspace, so that builds of this one do not update its lock file.
fn fuzz_lock() -> Result<()> {
    process::read(
        process::cargo()
            .args(["metadata", "--quiet", "--locked", "--format-version", "1"])
            .args(["--manifest-path", "fuzz/Cargo.toml"]),
    )
    .map(drop)
    .context("`cargo update --workspace --manifest-path fuzz/Cargo.toml` brings it up to date")
}

/// The rules are in `deny.toml`.
fn dependencies() -> Result<()> {
    if process::find("cargo-deny").is_none() {
        // It takes three minutes to build, so only CI does.
        talk::note("skipped: needs `cargo install --locked cargo-deny`; CI runs it");
        return Ok(());
    }
    process::run(process::cargo().args(["deny", "check", "licenses", "bans", "sources"]))
}
