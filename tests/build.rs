//! Fails the build of the tests while the eBPF object is older than its sources: they would test other programs.

#[path = "../xtask/src/provenance.rs"]
#[allow(dead_code, reason = "xtask uses the rest of it")]
mod provenance;

use std::path::Path;

fn main() -> Result<(), String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.parent().ok_or("this package lies in no workspace")?;
    for input in provenance::INPUTS.into_iter().chain([provenance::OBJECT, provenance::RECORD]) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    if let Some(problem) = provenance::stale(root).map_err(|error| error.to_string())? {
        println!("cargo::error={problem}");
    }
    Ok(())
}
