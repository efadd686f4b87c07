//! The commands of this workspace: `cargo xtask help` lists them.

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
mod times;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::read().run().unwrap_or_else(|error| {
        talk::problem(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
