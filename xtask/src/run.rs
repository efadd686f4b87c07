//! `cargo xtask run`: builds observer and runs it as root.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::build::{self, Build};
use crate::{process, talk};

/// Builds and runs `observer`; returns only if it could not be started.
///
/// xtask replaces itself (exec): the exit status is that of observer, and Ctrl-C reaches observer alone.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let binary = build::observer(Build::Live)?;
    let Some(mut command) = process::as_root(&binary) else {
        talk::problem(
            "observer loads eBPF programs, which needs root; this is not root, and there is no sudo",
        );
        talk::note(&format!("as root, run: {} tail", binary.display()));
        return Ok(ExitCode::from(3));
    };
    if args.is_empty() {
        command.arg("tail");
    }
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("`{}` could not be started", process::line(&command)))
}
