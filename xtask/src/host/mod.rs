//! `cargo xtask host`: a whole Debian with systemd, our package installed by apt, and the nights that people wrote about.
//!
//! What a night does and what it asserts is in tests/host/nights; each ends in `observer why` telling the truth.

mod image;
mod shop;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::guests::{self, kernels, qemu::Guest, report::KernelReport, report::Report};
use crate::{deb, process, talk, workspace};

/// Emulated, the nights take about eight minutes; on a machine that is busy otherwise, more.
const LIMIT: Duration = Duration::from_mins(25);
/// The system is unpacked into memory, and one night measures how much of it is left.
const MEMORY_MIB: u32 = 4096;
/// Debian's newest: its 6.12, the one of this release, crashes at random when emulated.
const KERNEL: &str = "7.3";

/// Options of `cargo xtask host`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only the nights whose name contains this
    #[arg(long, value_name = "NAME")]
    night: Option<String>,
    /// Kernel version
    #[arg(long, value_name = "VERSION", default_value = KERNEL)]
    kernel: String,
    /// Keep the disk image of the run and say how to boot it by hand
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// The package comes up, and the first night is told. The others are the same minutes once more each.
    pub(crate) fn the_first_night() -> Self {
        let night = Some("a-memory-max".to_owned());
        Self { night, kernel: KERNEL.to_owned(), ..Self::default() }
    }
}

/// Makes the host, boots it, and tells how the nights went.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    guests::install_qemu()?;
    let package = deb::package()?;
    let shop = shop::build(&cache())?;
    let run_dir = cache().join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&run_dir)?;
    let mut report = Report::default();
    let status = match kernels::get(&options.kernel, &run_dir)? {
        Ok(kernel) => {
            let parts = image::Parts {
                package: &package,
                shop: &shop,
                night: options.night.as_deref().unwrap_or(""),
            };
            let initrd = image::make(&cache(), &run_dir, &parts)?;
            let guest = Guest {
                kernel,
                initrd,
                console: run_dir.clone(),
                limit: LIMIT,
                memory_mib: MEMORY_MIB,
            };
            let ended = guests::boot(&guest)?;
            report.kernels.push(KernelReport::new(&guest.kernel, ended));
            if options.keep {
                talk::note(&format!("by hand: {}", process::line(&guest.by_hand())));
            }
            report.print()
        }
        Err(reason) => {
            talk::problem(&reason);
            ExitCode::FAILURE
        }
    };
    if !options.keep {
        fs::remove_dir_all(&run_dir).context("removing the files of the run")?;
    }
    if status != ExitCode::SUCCESS {
        let night = options.night.as_deref().map(|night| format!(" --night {night}"));
        talk::note(&format!(
            "again: cargo xtask host --kernel {}{}",
            options.kernel,
            night.unwrap_or_default()
        ));
    }
    Ok(status)
}

/// What is kept from one run to the next: the system without anything of ours, and the shop's packages.
fn cache() -> PathBuf {
    workspace::target().join("host")
}
