//! A subcommand for each way to die and to bind.
//!
//! The tests need processes whose end is known, without tools of the machine (a guest has only busybox). What a test
//! needs to know is printed as `key=value` lines, flushed before the deed. Every key that ends in `pid` names a
//! process that belongs to the test from then on. Wrappers (`in-cgroup`, `as-user`, …) change one thing and then run
//! the rest of the command line in the same process.

mod args;
mod bench;
mod children;
mod deceive;
mod end;
mod fault;
mod grow;
mod limit;
mod load;
mod memory;
mod ports;
mod seccomp;
mod signals;
mod socket;
mod sys;
mod terminal;
mod threads;
mod ways;
mod wrap;

use std::process::ExitCode;

use args::Args;

/// The exit code of a command, or why its usage was wrong.
type Outcome = Result<i32, String>;

/// No command is asked to exit with this code.
const WRONG_USAGE: u8 = 99;

type Command = (&'static str, fn(Args) -> Outcome);

/// Each module lists its own commands: a new one is one function and one line beside it.
const COMMANDS: [&[Command]; 16] = [
    bench::COMMANDS,
    end::COMMANDS,
    fault::COMMANDS,
    grow::COMMANDS,
    limit::COMMANDS,
    load::COMMANDS,
    seccomp::COMMANDS,
    signals::COMMANDS,
    terminal::COMMANDS,
    threads::COMMANDS,
    children::COMMANDS,
    deceive::COMMANDS,
    memory::COMMANDS,
    ports::COMMANDS,
    ways::COMMANDS,
    wrap::COMMANDS,
];

/// Runs the command at the beginning of `args`. Wrappers call this with the rest.
fn run(mut args: Args) -> Outcome {
    let name = args.text("COMMAND")?;
    let known = COMMANDS.iter().flat_map(|list| list.iter());
    let Some((_, command)) = known.clone().find(|(known, _)| *known == name) else {
        let names: Vec<_> = known.map(|(name, _)| *name).collect();
        return Err(format!("no command {name:?}; there are: {}", names.join(" ")));
    };
    command(args).map_err(|why| format!("{name}: {why}"))
}

fn main() -> ExitCode {
    sys::dispose_of_signals_as_usual();
    sys::dump_no_core();
    match run(Args::of_this_process()) {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(WRONG_USAGE)),
        Err(why) => {
            sys::complain(&why);
            ExitCode::from(WRONG_USAGE)
        }
    }
}
