//! Wires the command line to the commands; the only place that prints an error or ends the process.

use std::process::ExitCode;

use clap::Parser;
use observer::{
    cli::{Cli, Command, Settings},
    commands, error,
    kernel::load::Options,
    logging,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ebpf_log = match &cli.command {
        Command::Tail(args) => Some(args.ebpf_log.directive()),
        _ => None,
    };
    logging::start(ebpf_log);
    let status = run(&cli).unwrap_or_else(|error| {
        logging::error(&error);
        error::exit_status(&error)
    });
    ExitCode::from(status)
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let programs = Options { no_trampolines: cli.no_trampolines, ..Options::default() };
    let settings = || Settings::of(cli);
    match &cli.command {
        Command::Tail(args) => commands::tail::run(args, programs, &settings()?),
        Command::Serve(_) => commands::serve::run(programs, settings),
        Command::Status(args) => commands::status::run(args, &settings()?),
        Command::Replay(args) => commands::replay::run(args),
        Command::Ports(args) => commands::ports::run(args, &settings()?),
        Command::Log(args) => commands::log::run(args, &settings()?),
        Command::Verify(args) => commands::verify::run(args, &settings()?),
        Command::Why(args) => commands::why::run(args, &settings()?),
        Command::Report(args) => commands::report::run(args, &settings()?),
        Command::Doctor(args) => commands::doctor::run(args, programs),
        Command::Demo(args) => commands::demo::run(args, programs),
        Command::DemoPart(args) => commands::demo::run_part(args),
        Command::Schema => commands::schema::run(),
    }
}
