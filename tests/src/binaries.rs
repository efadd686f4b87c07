//! Where the binaries under test are. A test never picks up a file that may be older than the sources: it takes the one
//! that a variable names, or has cargo build it. In a guest, where all files lie in one folder, the variables name them.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// As fast to run as the one that is shipped, without its minutes of link-time optimization.
const PROFILE: &str = "live";

/// The `observer` under test: `OBSERVER_BIN`, or built now.
pub fn observer() -> PathBuf {
    static OBSERVER: OnceLock<PathBuf> = OnceLock::new();
    let named = || env::var_os("OBSERVER_BIN");
    OBSERVER.get_or_init(|| find("OBSERVER_BIN", named(), "observer", "observer", PROFILE)).clone()
}

/// The program with the known ends: `WORKLOAD_BIN`, or the one that cargo built for this test, or built now.
pub fn workload() -> PathBuf {
    static WORKLOAD: OnceLock<PathBuf> = OnceLock::new();
    let named = || env::var_os("WORKLOAD_BIN").or_else(|| env::var_os("CARGO_BIN_EXE_workload"));
    WORKLOAD
        .get_or_init(|| find("WORKLOAD_BIN", named(), "observer-tests", "workload", "dev"))
        .clone()
}

fn find(
    variable: &str,
    named: Option<OsString>,
    package: &str,
    binary: &str,
    profile: &str,
) -> PathBuf {
    let found = match (named, env::var_os("CARGO")) {
        (Some(path), _) => Ok(PathBuf::from(path)),
        (None, Some(cargo)) => build(&cargo.into(), &workspace(), package, binary, profile),
        (None, None) => Err(refusal(variable)),
    };
    let path = found.unwrap_or_else(|why| panic!("no {binary} to test: {why}"));
    // Without `..` and links: the path that the kernel knows a running program by.
    path.canonicalize().unwrap_or_else(|why| panic!("{variable}: {}: {why}", path.display()))
}

/// What to do where nobody says which binary is meant.
pub fn refusal(variable: &str) -> String {
    format!(
        "{variable} is not set, and cargo did not start this test: run `cargo xtask test`, or `cargo test -p observer-tests`"
    )
}

/// Has cargo bring a binary of that workspace up to date, and gives the path that cargo says it has.
pub fn build(
    cargo: &PathBuf,
    workspace: &Path,
    package: &str,
    binary: &str,
    profile: &str,
) -> Result<PathBuf, String> {
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args([
        "build",
        "--quiet",
        "--package",
        package,
        "--bin",
        binary,
    ]);
    command.args(["--profile", profile, "--message-format=json-render-diagnostics"]);
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|why| format!("cargo: {why}"))?;
    if !output.status.success() {
        return Err(format!("`cargo build --package {package}` failed: {}", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut artifacts = messages.filter(|message| message["target"]["name"] == binary);
    let path = artifacts.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.ok_or_else(|| "cargo did not say where it put it".to_owned())
}

/// Of this checkout: what was compiled may come from another one that shares the target directory.
fn workspace() -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("..")
}
