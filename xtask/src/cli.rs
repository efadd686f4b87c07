//! The subcommands and their options.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{bench, ci, deb, ebpf, fuzz, guests, host, lint, run, test};

/// Everything a person runs on this workspace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the eBPF object that is checked in, setting up what that needs
    Ebpf {
        /// Rebuild beside it and compare instead; exit 1 if anything differs
        #[arg(long)]
        check: bool,
    },
    /// Build observer and run it as root
    Run {
        /// What observer gets; `tail` if nothing is given
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test this machine can: unit, documentation, command line, replay, live
    Test(test::Options),
    /// Run the live tests on other kernels, in emulated machines
    Guests(guests::Options),
    /// Boot a Debian with systemd, install the package, and run the scenarios of tests/host
    Host(host::Options),
    /// Build the Debian package and prove it: lintian, contents, modes
    Deb(deb::Options),
    /// Measure what observer costs beside what people use instead
    Bench(bench::Options),
    /// Fuzz every reader of outside bytes, for two minutes each
    Fuzz(fuzz::Options),
    /// Check format, lints, file sizes, licences
    Lint,
    /// Run lint, ebpf --check, test, deb, host and guests, and sum up
    Ci,
}

impl Cli {
    /// Runs the chosen subcommand.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.command {
            Task::Ebpf { check: false } => ebpf::write(),
            Task::Ebpf { check: true } => ebpf::check(),
            Task::Run { args } => run::run(&args),
            Task::Test(options) => test::run(&options),
            Task::Guests(options) => guests::run(&options),
            Task::Host(options) => host::run(&options),
            Task::Deb(options) => deb::run(&options),
            Task::Bench(options) => bench::run(&options),
            Task::Fuzz(options) => fuzz::run(&options),
            Task::Lint => Ok(lint::run()),
            Task::Ci => Ok(ci::run()),
        }
    }
}
