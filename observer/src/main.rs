//! Wires the command line to the commands; the only place that prints an error or ends the process.

use std::process::ExitCode;

use clap::Parser;
use observer::{
    cli::{Cli, Command},
    commands,
    config::Config,
    error,
    kernel::load::Options,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    observer::logging::start(&cli.command);
    let done = run(&cli);
    let status = done.unwrap_or_else(|error| {
        observer::logging::error(&error);
        error::exit_status(&error)
    });
    ExitCode::from(status)
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let programs = Options { no_trampolines: cli.no_trampolines, ..Options::default() };
    match &cli.command {
        Command::Tail(args) => commands::tail::run(args, programs, Config::of(cli)?.socket()),
        Command::Serve(args) => commands::serve::run(args, cli),
        Command::Status(args) => commands::status::run(args, Config::of(cli)?.socket()),
        Command::Replay(args) => commands::replay::run(args),
        Command::Ports(args) => commands::ports::run(args, Config::of(cli)?.socket()),
        Command::Log(args) => commands::log::run(args, Config::of(cli)?.dir()),
        Command::Verify(args) => commands::verify::run(args, Config::of(cli)?.dir()),
        Command::Why(args) => commands::why::run(args, Config::of(cli)?.dir()),
        Command::Report(args) => commands::report::run(args, Config::of(cli)?.dir()),
        Command::Doctor(args) => commands::doctor::run(args, programs),
        Command::Demo(args) => commands::demo::run(args, programs),
        Command::DemoPart(args) => commands::demo::run_part(args),
        Command::Schema => commands::schema::run(),
    }
}
