//! `cargo xtask guests`: the live tests on the kernels we promise to run on, each in a machine of its own.
//!
//! The machines are emulated (QEMU's TCG), so this needs neither root nor KVM, and a test may run the
//! machine out of memory. Times measured in there mean nothing.

mod initramfs;
mod kernels;
mod qemu;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::build::{self, Build};
use crate::{apt, process, talk, workspace};
use initramfs::Contents;
use qemu::{Ended, Guest};
use report::{KernelReport, Report};

/// Debian's 6.12 crashes at random under TCG, also before anything of ours was loaded.
const TRIES: u32 = 3;

/// How long a guest may take unless told otherwise: many times what it does take.
const LIMIT: Duration = Duration::from_mins(15);

/// Options of `cargo xtask guests`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Kernel versions, comma separated
    #[arg(long = "kernel", value_name = "VERSION", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Run this shell command in each guest instead of the tests, and print what it prints
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
    /// Put this file into the guest's /bin as well
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Keep the initramfs and say how to boot it by hand
    #[arg(long)]
    keep: bool,
    /// How long one guest may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// What the live tests get, such as a filter
    #[arg(last = true)]
    args: Vec<String>,
}

/// Boots each kernel in turn.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let contents = prepare(options)?;
    let script = match &options.exec {
        Some(command) => command.clone(),
        None => initramfs::test_script(&options.args),
    };
    let initrd = initramfs::pack(&contents, &script)?;
    let versions = if options.kernels.is_empty() {
        kernels::DEFAULT.map(str::to_owned).into()
    } else {
        options.kernels.clone()
    };
    let mut report = Report::default();
    for version in versions {
        let kernel = match kernels::get(&version)? {
            Ok(kernel) => kernel,
            Err(reason) => {
                talk::problem(&reason);
                // Mirrors drop kernels. One asked for by name must be there, one of the usual set may be skipped.
                let asked_for = !options.kernels.is_empty();
                report.kernels.push(KernelReport::absent(&version, &reason, asked_for));
                continue;
            }
        };
        let guest = Guest {
            kernel: &kernel,
            initrd: &initrd,
            limit: options.timeout.map_or(LIMIT, Duration::from_secs),
        };
        let ended = boot(&guest)?;
        report.kernels.push(KernelReport::new(&kernel, ended));
        if options.keep {
            talk::note(&format!("by hand: {}", process::line(&guest.by_hand())));
        }
    }
    if !options.keep {
        std::fs::remove_file(&initrd)?;
    }
    if options.exec.is_some() {
        return Ok(report.exec_status());
    }
    Ok(report.print())
}

/// Boots again if the guest itself broke, which says nothing about us; and never hides that it did.
fn boot(guest: &Guest<'_>) -> Result<Ended> {
    let mut attempt = 1;
    loop {
        talk::step(&format!("guest {} ({})", guest.kernel.version, guest.kernel.package));
        let ended = guest.run()?;
        let Ended::Crashed { why, .. } = &ended else { return Ok(ended) };
        talk::problem(&format!(
            "guest {} broke down, attempt {attempt} of {TRIES}: {why}",
            guest.kernel.version
        ));
        if attempt == TRIES {
            return Ok(ended);
        }
        attempt += 1;
    }
}

/// Everything that goes into the guest, built static.
fn prepare(options: &Options) -> Result<Contents> {
    for (program, package) in
        [("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("cpio", "cpio")]
    {
        if process::find(program).is_none() {
            apt::install(&[package])?;
        }
    }
    talk::step("building static binaries for the guests");
    let mut programs = vec![("observer".to_owned(), build::observer(Build::Static)?)];
    let tests = [
        ("workload", build::workload as fn(Build) -> Result<PathBuf>),
        ("live", build::live_tests),
    ];
    for (name, build) in tests {
        match build(Build::Static) {
            Ok(path) => programs.push((name.to_owned(), path)),
            // A command can be tried in a guest while the tests do not compile.
            Err(error) if options.exec.is_some() => talk::note(&format!("without {name}: {error}")),
            Err(error) => return Err(error),
        }
    }
    for path in &options.add {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        programs.push((name, path.clone()));
    }
    Ok(Contents { programs })
}

/// Where kernels are cached and guests leave their logs.
fn dir() -> PathBuf {
    workspace::target().join("guests")
}
