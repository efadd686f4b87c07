//! `cargo xtask host`: boots a Debian with systemd, installs the package with apt, and runs the scenarios.
//!
//! Each script in tests/host/scenarios reproduces an outage that people have reported, and asserts what `observer why` prints.

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

/// Emulated, the scenarios take about eight minutes; more on a busy machine.
const LIMIT: Duration = Duration::from_mins(25);
/// The system is unpacked into memory, and one scenario measures how much of it is left.
const MEMORY_MIB: u32 = 4096;
/// Debian's newest. The 6.12 of this release crashes at random when emulated.
const KERNEL: &str = "7.3";

/// Options of `cargo xtask host`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Run only the scenarios whose name contains this, such as b-pm2
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Boot this kernel version
    #[arg(long, value_name = "VERSION", default_value = KERNEL)]
    kernel: String,
    /// Keep the initramfs and print the command that boots it
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// The installation and one scenario, which is what CI has time for.
    pub(crate) fn first_scenario() -> Self {
        let scenario = Some("a-memory-max".to_owned());
        Self { scenario, kernel: KERNEL.to_owned(), ..Self::default() }
    }
}

/// Makes the host, boots it, and reports the result of each scenario.
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
                scenario: options.scenario.as_deref().unwrap_or(""),
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
                talk::note(&format!("to boot it by hand: {}", process::line(&guest.by_hand())));
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
        let scenario = options.scenario.as_deref().map(|name| format!(" --scenario {name}"));
        talk::note(&format!(
            "to repeat it: cargo xtask host --kernel {}{}",
            options.kernel,
            scenario.unwrap_or_default()
        ));
    }
    Ok(status)
}

/// Kept from one run to the next: the Debian without observer, and the built shop.
fn cache() -> PathBuf {
    workspace::target().join("host")
}
