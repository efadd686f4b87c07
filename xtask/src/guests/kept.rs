//! Keeps the last complete run of the live tests on each kernel, with its commit: five kernels take two hours, and the
//! table of `--compatibility` needs no run of all of them at once.

use std::path::PathBuf;
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context as _, Result};

use super::kernels::Kernel;
use super::qemu::Ended;
use super::report::KernelReport;
use crate::{process, workspace};

/// The last run on that kernel; without tests if there was none.
pub(super) fn last(kernel: &Kernel) -> KernelReport {
    read(kernel).unwrap_or_else(|| KernelReport::without_a_run(&kernel.version))
}

fn read(kernel: &Kernel) -> Option<KernelReport> {
    let text = fs::read_to_string(path(kernel)).ok()?;
    let mut lines = text.lines();
    let mut words = lines.next()?.split(' ');
    let run = format!("{}, {}", words.next()?, words.next()?);
    let status = words.next()?.parse().ok()?;
    // A result of another build of the kernel does not count.
    (words.next()? == kernel.package).then_some(())?;
    let output = lines.map(str::to_owned).collect();
    Some(KernelReport::new(kernel, Ended::Finished { status, output }).of(run))
}

impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.commit, self.day)
    }
}

/// Commit and day of this run.
pub(super) struct Now {
    commit: String,
    day: String,
}

impl Now {
    /// Reads the checked-out commit and the day.
    pub(super) fn read() -> Result<Self> {
        let git = |words: &[&str]| {
            process::read(Command::new("git").args(words).current_dir(workspace::root()))
        };
        let changed = !git(&["status", "--porcelain"])?.trim().is_empty();
        let commit = git(&["rev-parse", "--short", "HEAD"])?.trim().to_owned();
        let day = process::read(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned();
        Ok(Self { commit: commit + if changed { "+" } else { "" }, day })
    }

    /// Keeps the result of a run that was completed.
    pub(super) fn keep(&self, kernel: &Kernel, ended: &Ended) -> Result<()> {
        let Ended::Finished { status, output } = ended else { return Ok(()) };
        let path = path(kernel);
        fs::create_dir_all(path.with_file_name(""))?;
        let Self { commit, day } = self;
        let text = format!("{commit} {day} {status} {}\n{}\n", kernel.package, output.join("\n"));
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}

fn path(kernel: &Kernel) -> PathBuf {
    super::cache().join("outcomes").join(&kernel.version)
}
