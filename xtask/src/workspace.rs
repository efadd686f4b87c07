//! Where things are in this workspace.

use std::path::{Path, PathBuf};

/// The root of the workspace: the folder above this package, as it was when xtask was compiled.
/// (`cargo xtask` compiles it anew in every checkout, so this is always the right one.)
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo's target directory, which the environment may move.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}
