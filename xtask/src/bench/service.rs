//! A service in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::tool::{Ready, Tool};

/// Its folder.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("observer-bench-{}", std::process::id()));
        fs::create_dir_all(dir.join("record"))?;
        // What each event costs: none is summed.
        fs::write(dir.join("observer.toml"), "[flood]\nlimit = \"off\"\n")?;
        Ok(Self(dir))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn socket(&self) -> String {
        self.path("socket")
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("record")
    }

    /// `observer serve` there.
    pub(crate) fn serve(&self, observer: &Path) -> Tool {
        let (socket, record, config) =
            (self.socket(), self.path("record"), self.path("observer.toml"));
        let words = ["--socket", &socket, "--dir", &record, "--config", &config, "serve"];
        Tool::new("`observer serve`", observer, &words, Ready::After(Duration::from_secs(1)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A failure leaves files in the folder for temporary ones.
        let _ = fs::remove_dir_all(&self.0);
    }
}
