//! Wires the command line to the commands; the only place that prints an error or ends the process.

use std::process::ExitCode;

use clap::Parser;
use observer::{
    cli::{Cli, Command},
    commands, error,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    observer::logging::start(&cli.command);
    let done = match &cli.command {
        Command::Tail(args) => commands::tail::run(args),
        Command::Replay(args) => commands::replay::run(args),
        Command::Ports(args) => commands::ports::run(args),
        Command::Why(args) => commands::why::run(args, &cli.dir),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Schema => commands::schema::run(),
    };
    let status = done.unwrap_or_else(|error| {
        observer::logging::error(&error);
        error::exit_status(&error)
    });
    ExitCode::from(status)
}
