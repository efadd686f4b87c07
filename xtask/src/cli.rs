//! The subcommands and their options.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{bench, ci, deb, ebpf, fuzz, guests, host, lint, run, talk, test, times};

/// Build, test, check and measure this workspace
#[derive(Parser)]
#[command(bin_name = "cargo xtask", max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the eBPF object that is checked in; installs the tools that this needs
    Ebpf {
        /// Build it beside the one that is checked in and compare them; exit status 1 if they differ
        #[arg(long)]
        check: bool,
    },
    /// Build observer without link-time optimization and run it as root
    Run {
        /// Arguments of observer; `tail` if there are none
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test this machine can: unit, documentation, replay, command line, live
    Test(test::Options),
    /// Run the live tests on other kernels, in emulated machines
    Guests(guests::Options),
    /// Boot a Debian with systemd, install the package, and run the scenarios of tests/host
    Host(host::Options),
    /// Build the Debian package and check it: lintian, contents, modes
    Deb(deb::Options),
    /// Measure what observer costs, beside other tools
    Bench(bench::Options),
    /// Fuzz every reader of outside bytes, for two minutes each
    Fuzz(fuzz::Options),
    /// Check format, lints, module imports, file sizes, licences
    Lint,
    /// Run the jobs of CI, one after the other, and sum up
    Ci(ci::Options),
}

impl Cli {
    /// Reads the command line, or prints help or what is wrong with it and ends.
    pub(crate) fn read() -> Self {
        let matches = times::in_help(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the chosen subcommand.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let (name, option) = self.command.name();
        let time = times::of(name, option).unwrap_or_default();
        let command = format!("cargo xtask {name} {option}");
        talk::step(&format!("{}: {time}", command.trim_end()));
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
            Task::Ci(options) => Ok(ci::run(&options)),
        }
    }
}

impl Task {
    /// The command, and the option that changes how long it takes.
    fn name(&self) -> (&'static str, &'static str) {
        match self {
            Self::Ebpf { check: true } => ("ebpf", "--check"),
            Self::Ebpf { .. } => ("ebpf", ""),
            Self::Run { .. } => ("run", ""),
            Self::Test(options) => ("test", if options.quick { "--quick" } else { "" }),
            Self::Guests(options) => ("guests", options.mode()),
            Self::Host(_) => ("host", ""),
            Self::Deb(_) => ("deb", ""),
            Self::Bench(_) => ("bench", ""),
            Self::Fuzz(_) => ("fuzz", ""),
            Self::Lint => ("lint", ""),
            Self::Ci(_) => ("ci", ""),
        }
    }
}
