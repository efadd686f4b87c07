//! `cargo xtask bench`: measures what observer costs, and other tools in the same run.

mod contestants;
mod counts;
mod document;
mod hostile;
mod load;
mod log;
mod lookup;
mod machine;
mod overhead;
mod pairs;
mod programs;
mod service;
mod soak;
mod storms;
mod sys;
mod targets;
mod tool;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::build::{self, Build};
use crate::{process, talk};
use overhead::Binaries;

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure; if nothing is given, everything, and docs/generated/overhead.md is written
    #[arg(value_enum)]
    what: Vec<Bench>,
    /// How often each tool runs; they take turns
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Measure only this load
    #[arg(long)]
    load: Option<String>,
    /// Run storms against the service for so many minutes instead, and check losses and memory at the end
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["what", "load", "peers"])]
    soak: Option<u64>,
    /// Install the tools that observer is compared with, where they are missing
    #[arg(long)]
    peers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Storms of deaths, threads, signals, connections and system calls, with and without each tool
    Overhead,
    /// Memory, wake-ups at rest, a reader that is stopped, and storms of one user
    Counts,
    /// Who holds a port, among 2,000 processes
    Lookup,
    /// Finding events in half a gigabyte of event files
    Log,
}

/// Results of one run.
#[derive(Default)]
struct Results {
    machine: String,
    date: String,
    rounds: usize,
    /// At the start and at the end.
    load: (f64, f64),
    tables: Vec<overhead::Table>,
    frozen: Option<counts::Frozen>,
    storms: Option<storms::Storms>,
    rest: Vec<counts::Rest>,
    races: Vec<pairs::Race>,
    left_out: Vec<String>,
}

/// Runs the benches and prints their results. Nothing else should run on the machine.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let wanted = |bench| options.what.is_empty() || options.what.contains(&bench);
    let mut results = Results {
        machine: machine::describe(),
        date: machine::date(),
        rounds: options.rounds,
        ..Results::default()
    };
    talk::step(&results.machine);
    if let Some(minutes) = options.soak {
        soak::run(&binaries()?, minutes)?;
        return Ok(ExitCode::SUCCESS);
    }
    if wanted(Bench::Overhead) || wanted(Bench::Counts) {
        let binaries = binaries()?;
        results.load.0 = machine::load();
        if wanted(Bench::Counts) {
            results.frozen = Some(counts::frozen(&binaries)?);
            results.storms = Some(storms::run(&binaries)?);
            results.rest = counts::rest(&binaries)?;
        }
        if wanted(Bench::Overhead) {
            results.left_out = contestants::prepare_peers(options.peers)?;
            results.tables = overhead::run(&binaries, options.rounds, options.load.as_deref())?;
            let failed = results.tables.iter().flat_map(|table| table.left_out.iter().cloned());
            results.left_out.extend(failed);
        }
    }
    if wanted(Bench::Lookup) {
        results.races.extend(lookup::run(options.rounds)?);
    }
    if wanted(Bench::Log) {
        results.races.push(log::run(options.rounds)?);
    }
    results.load.1 = machine::load();
    for target in targets::of(&results) {
        let words = target.verdict.words();
        talk::note(&format!(
            "{words:<19} {}: {} (target {})",
            target.what, target.figure, target.limit
        ));
    }
    if options.what.is_empty() && options.load.is_none() {
        document::write(&results)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn binaries() -> Result<Binaries> {
    if !process::is_root() {
        bail!("tools that load eBPF programs need root");
    }
    let observer = build::observer(Build::Release)?;
    Ok(Binaries { observer, workload: build::workload(Build::Release)? })
}
