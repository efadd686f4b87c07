//! The binaries: observer, the workload, the live tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{process, workspace};

const HOST: &str = "x86_64-unknown-linux-gnu";

/// How a binary is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Quickly, as `cargo test` does.
    Debug,
    /// As fast to run as a release, without link-time optimization: for tests.
    Live,
    /// As it is shipped, with the libraries of this machine.
    Release,
    /// As `Debug`, in one file that runs in a guest without libraries.
    StaticDebug,
    /// As `Live`, in one file.
    StaticLive,
    /// As it is shipped, in one file.
    StaticRelease,
}

impl Build {
    fn cargo(self, verb: &str) -> Command {
        let mut cargo = process::cargo();
        cargo.arg(verb);
        // Cargo has a profile of its own for tests, which inherits `dev`.
        if self.profile() != "dev" {
            cargo.args(["--profile", self.profile()]);
        }
        if self.is_static() {
            // With a target named, the flags leave proc macros and build scripts alone.
            cargo.args(["--target", HOST]);
            cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        }
        if self == Self::StaticDebug {
            // An emulated processor needs some help, and a guest's memory holds the file twice while it boots.
            cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
            cargo.env("CARGO_PROFILE_DEV_DEBUG", "none");
            cargo.env("CARGO_PROFILE_DEV_STRIP", "debuginfo");
        }
        cargo
    }

    const fn profile(self) -> &'static str {
        match self {
            Self::Debug | Self::StaticDebug => "dev",
            Self::Live | Self::StaticLive => "live",
            Self::Release | Self::StaticRelease => "release",
        }
    }

    const fn is_static(self) -> bool {
        matches!(self, Self::StaticDebug | Self::StaticLive | Self::StaticRelease)
    }

    fn dir(self) -> PathBuf {
        let target = workspace::target();
        let target = if self.is_static() { target.join(HOST) } else { target };
        target.join(match self.profile() {
            "dev" => "debug",
            profile => profile,
        })
    }
}

/// `observer` itself.
pub(crate) fn observer(build: Build) -> Result<PathBuf> {
    process::run(build.cargo("build").args(["--package", "observer"]))?;
    Ok(build.dir().join("observer"))
}

/// The program that dies and binds in known ways.
pub(crate) fn workload(build: Build) -> Result<PathBuf> {
    process::run(build.cargo("build").args(["--package", "observer-tests", "--bin", "workload"]))?;
    Ok(build.dir().join("workload"))
}

/// The live tests, one program that can run as another user or in a guest.
pub(crate) fn live_tests(build: Build) -> Result<PathBuf> {
    let mut cargo = build.cargo("test");
    cargo.args(["--package", "observer-tests", "--test", "live", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = cargo.output().context("cargo could not be started")?;
    if !output.status.success() {
        bail!("`{}` failed: {}", process::line(&cargo), output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo did not say where it put the live tests")
}

/// The executable of the live tests, from cargo's messages, which name other programs too.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut live = messages.filter(|message| message["target"]["name"] == "live");
    live.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn executable_is_found_by_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"live"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"live"},"executable":"/t/live-1","fresh":true}
{"reason":"compiler-artifact","target":{"name":"workload"},"executable":"/t/workload"}
{"reason":"build-finished"}"#;
        assert_eq!(executable(messages), Some("/t/live-1".into()));
    }
}
