//! `cargo xtask run`: build with stable cargo, become root, be `observer`.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::build::{self, Build};
use crate::{process, talk};

/// Builds and runs `observer`; comes back only if that could not be started.
///
/// The child takes our place (exec), so its exit status is ours and Ctrl-C reaches it and nobody else.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let binary = build::observer(Build::Live)?;
    let Some(mut command) = process::as_root(&binary) else {
        talk::problem(
            "observer loads eBPF programs, which takes root; this is not root and there is no sudo",
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
