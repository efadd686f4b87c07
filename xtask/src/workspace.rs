//! Paths of this workspace.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The root of the workspace: the folder above this package, as `cargo run` names it. The compiled path may be that of
/// another checkout that shares the target directory.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        xtask.parent().map(Path::to_path_buf).unwrap_or(xtask)
    });
    &ROOT
}

/// Cargo's target directory, which the environment may move.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}
