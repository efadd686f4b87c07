//! `cargo xtask bench`: what observer costs beside what people use instead, in one run.

mod log;
mod lookup;
mod pairs;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// Which, and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure; everything if nothing is given
    #[arg(value_enum)]
    what: Vec<Bench>,
    /// How often each contestant runs, one after the other in turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Who holds a port, among 2,000 processes with 25 listeners each
    Lookup,
    /// Finding events among a gigabyte of records
    Log,
}

/// Runs the benches and prints a table each. Nothing else should run on the machine.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let wanted = |bench| options.what.is_empty() || options.what.contains(&bench);
    if wanted(Bench::Lookup) {
        lookup::run(options.rounds)?;
    }
    if wanted(Bench::Log) {
        log::run(options.rounds)?;
    }
    Ok(ExitCode::SUCCESS)
}
