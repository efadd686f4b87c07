//! `observer serve`: runs the service.

use anyhow::Result;

use crate::{cli::Settings, kernel::load::Options, service};

/// Runs until SIGTERM or SIGINT.
pub fn run(programs: Options, settings: impl Fn() -> Result<Settings>) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(service::serve(programs, settings));
    // A scan of all descriptors, or a client that hangs, must not keep us.
    runtime.shutdown_background();
    done
}
