//! Everything a person runs on this workspace: `cargo xtask help` lists it.

mod apt;
mod bench;
mod build;
mod ci;
mod cli;
mod deb;
mod ebpf;
mod fuzz;
mod guests;
mod host;
mod lint;
mod process;
mod provenance;
mod run;
mod talk;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    cli::Cli::parse().run().unwrap_or_else(|error| {
        talk::problem(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
