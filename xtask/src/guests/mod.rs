//! `cargo xtask guests`: the live tests on every supported kernel, each in its own emulated machine.
//!
//! QEMU emulates them (TCG), so this needs neither root nor KVM, and a test may run the machine out of
//! memory. Times measured in a guest mean nothing.

mod compatibility;
mod fleet;
mod initramfs;
mod kept;
pub(crate) mod kernels;
mod peers;
pub(crate) mod qemu;
pub(crate) mod report;

pub(crate) use fleet::boot;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::build::{self, Build};
use crate::{apt, ebpf, process, talk, workspace};
use initramfs::Contents;
use kept::Now;
use kernels::Kernel;
use qemu::Guest;
use report::{KernelReport, Report};

/// The default time limit of a guest: twice what it takes on a busy machine.
const LIMIT: Duration = Duration::from_hours(1);

/// Reports what a kernel supports.
const DOCTOR: &str = "/bin/observer doctor";

/// Options of `cargo xtask guests`.
#[derive(Args, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Options {
    /// Kernel versions, such as 5.10,6.1; all supported ones if not given
    #[arg(long = "kernel", value_name = "VERSION", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Run this shell command in each guest instead of the tests
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
    /// Run `observer doctor` on each kernel and write docs/generated/compatibility.md, with the results of the last whole run of the
    /// live tests
    #[arg(long, conflicts_with_all = ["exec", "kernels", "args"])]
    compatibility: bool,
    /// Run observer and other tools beside the same deaths and refused binds, and write docs/generated/peers.md
    #[arg(long, conflicts_with_all = ["exec", "compatibility"])]
    peers: bool,
    /// Run the few tests that CI runs on every kernel
    #[arg(long, conflicts_with_all = ["exec", "compatibility", "args"])]
    short: bool,
    /// Copy this file into the guest's /bin
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Keep the initramfs and print the command that boots it
    #[arg(long)]
    keep: bool,
    /// How many guests run at a time; 1 if not given, which suits tests that measure time
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Time limit of one guest
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Arguments of the live tests, such as a filter
    #[arg(last = true)]
    args: Vec<String>,
}

impl Options {
    /// Every kernel with the short list of tests, those that depend on the kernel.
    pub(crate) fn short_matrix() -> Self {
        Self { short: true, jobs: Some(2), ..Self::default() }
    }

    /// The option that decides how long it takes.
    pub(crate) const fn mode(&self) -> &'static str {
        if self.peers {
            "--peers"
        } else if self.compatibility {
            "--compatibility"
        } else if self.short {
            "--short"
        } else {
            ""
        }
    }

    /// The script that init runs.
    fn script(&self) -> String {
        match &self.exec {
            Some(command) => command.clone(),
            None if self.compatibility => DOCTOR.to_owned(),
            None => initramfs::test_script(&self.args, self.short),
        }
    }
}

/// Boots each kernel and prints the results.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.peers {
        return peers::run(options);
    }
    let contents = prepare(options)?;
    let only_a_command = options.exec.is_some() || options.compatibility;
    let whole = !only_a_command && options.args.is_empty() && !options.short;
    let now = if whole { Some(Now::read()?) } else { None };
    let run_dir = cache().join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&run_dir)?;
    let initrd = initramfs::pack(&contents, &options.script(), &run_dir)?;
    let mut report = Report::default();
    let mut guests = Vec::new();
    for kernel in kernels(options, &run_dir, &mut report)? {
        guests.push(Guest {
            kernel,
            initrd: initrd.clone(),
            console: run_dir.clone(),
            limit: options.timeout.map_or(LIMIT, Duration::from_secs),
            memory_mib: 1024,
        });
    }
    let ended = fleet::run(&guests, options.jobs.unwrap_or(1), |guest, ended| {
        now.as_ref().map_or(Ok(()), |now| now.keep(&guest.kernel, ended))
    })?;
    for (guest, ended) in guests.iter().zip(ended) {
        let run = now.as_ref().map(Now::to_string).unwrap_or_default();
        report.kernels.push(KernelReport::new(&guest.kernel, ended).of(run));
        if options.keep {
            talk::note(&format!("to boot it by hand: {}", process::line(&guest.by_hand())));
        }
    }
    if options.compatibility {
        let runs: Vec<KernelReport> =
            guests.iter().map(|guest| kept::last(&guest.kernel)).collect();
        compatibility::write(&report.kernels, &runs)?;
    }
    let status = if only_a_command { report.exec_status() } else { report.print() };
    if options.keep {
        return Ok(status);
    }
    if status == ExitCode::SUCCESS {
        fs::remove_dir_all(&run_dir)?;
    } else {
        fs::remove_file(&initrd)?;
        talk::note(&format!("the guests' consoles are in {}", run_dir.display()));
    }
    Ok(status)
}

/// The kernels to boot. The report lists one that the mirror no longer has.
fn kernels(options: &Options, scratch: &Path, report: &mut Report) -> Result<Vec<Kernel>> {
    let asked_for = !options.kernels.is_empty();
    let versions = if asked_for {
        options.kernels.clone()
    } else {
        kernels::DEFAULT.map(str::to_owned).into()
    };
    let mut found = Vec::new();
    for version in versions {
        match kernels::get(&version, scratch)? {
            Ok(kernel) => found.push(kernel),
            Err(reason) => {
                talk::problem(&reason);
                // A kernel asked for by name must be available; one of the default set may be skipped.
                report.kernels.push(KernelReport::absent(&version, &reason, asked_for));
            }
        }
    }
    Ok(found)
}

/// The programs of the guest, linked statically.
fn prepare(options: &Options) -> Result<Contents> {
    ebpf::require_fresh()?;
    install_tools()?;
    talk::step("building static binaries for the guests");
    let mut programs = vec![("observer".to_owned(), build::observer(Build::StaticLive)?)];
    let tests = [
        ("workload", build::workload as fn(Build) -> Result<PathBuf>),
        ("live", build::live_tests),
    ];
    for (name, build) in tests {
        match build(Build::StaticDebug) {
            Ok(path) => programs.push((name.to_owned(), path)),
            // `--exec` works even if the tests do not compile.
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

/// Installs QEMU, busybox and cpio if they are missing.
fn install_tools() -> Result<()> {
    install_qemu()?;
    for (program, package) in [("busybox", "busybox-static"), ("cpio", "cpio")] {
        if process::find(program).is_none() {
            apt::install(&[package])?;
        }
    }
    Ok(())
}

/// Installs QEMU if it is missing.
pub(crate) fn install_qemu() -> Result<()> {
    match process::find("qemu-system-x86_64") {
        Some(_) => Ok(()),
        None => apt::install(&["qemu-system-x86"]),
    }
}

/// The folder that keeps kernels and results.
fn cache() -> PathBuf {
    workspace::target().join("guests")
}
