//! `cargo xtask ci`: everything, in the order in which a failure is cheapest to find.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::{apt, deb, ebpf, guests, host, lint, talk, test};

/// Real servers that live tests look at.
const SERVERS: [&str; 2] = ["nginx-light", "nodejs"];

/// A subcommand and what runs it.
type Part = (&'static str, fn() -> Result<ExitCode>);

/// Runs all parts, also after one has failed, and sums up.
pub(crate) fn run() -> ExitCode {
    let parts: [Part; 6] = [
        ("lint", || Ok(lint::run())),
        ("ebpf --check", ebpf::check),
        ("test", || test::run(&test::Options::default())),
        ("deb", || deb::run(&deb::Options::every_check())),
        ("host", || host::run(&host::Options::first_scenario())),
        ("guests", || guests::run(&guests::Options::short_matrix())),
    ];
    // Without them those tests would only be skipped, aloud.
    if let Err(error) = apt::install(&SERVERS) {
        talk::problem(&format!("{error:#}"));
    }
    let mut results = Vec::new();
    for (name, part) in parts {
        talk::heading(&format!("cargo xtask {name}"));
        let start = Instant::now();
        let good = part().unwrap_or_else(|error| {
            talk::problem(&format!("{error:#}"));
            ExitCode::FAILURE
        }) == ExitCode::SUCCESS;
        results.push((name, good, start.elapsed()));
    }
    talk::heading("summary");
    for (name, good, took) in &results {
        let word = if *good { "ok" } else { "FAILED" };
        talk::note(&format!("{word:6}  {:4} s  cargo xtask {name}", took.as_secs()));
    }
    if results.iter().all(|(_, good, _)| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
