//! The last whole run of the live tests on each kernel, kept until the programs change: five kernels take an hour, and
//! nobody should have to run them in one go for a table.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::initramfs::Contents;
use super::kernels::Kernel;
use super::qemu::Ended;
use crate::provenance::hex;

/// Which programs, told by their bytes, the results belong to.
pub(super) struct Kept {
    programs: String,
}

impl Kept {
    /// Reads the programs.
    pub(super) fn of(contents: &Contents) -> Result<Self> {
        let mut hash = Sha256::new();
        for (name, path) in &contents.programs {
            hash.update(name);
            hash.update(fs::read(path).with_context(|| format!("reading {}", path.display()))?);
        }
        Ok(Self { programs: hex(&hash.finalize()) })
    }

    /// How the last run went, if it was of these programs on that kernel.
    pub(super) fn get(&self, kernel: &Kernel) -> Option<Ended> {
        let text = fs::read_to_string(path(kernel)).ok()?;
        let mut lines = text.lines();
        let head = format!("{} {} ", self.programs, kernel.package);
        let status = lines.next()?.strip_prefix(&head)?.parse().ok()?;
        Some(Ended::Finished { status, output: lines.map(str::to_owned).collect() })
    }

    /// Keeps a run that came to its end.
    pub(super) fn put(&self, kernel: &Kernel, ended: &Ended) -> Result<()> {
        let Ended::Finished { status, output } = ended else { return Ok(()) };
        let path = path(kernel);
        fs::create_dir_all(path.with_file_name(""))?;
        let text =
            format!("{} {} {status}\n{}\n", self.programs, kernel.package, output.join("\n"));
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}

fn path(kernel: &Kernel) -> PathBuf {
    super::cache().join("outcomes").join(&kernel.version)
}
