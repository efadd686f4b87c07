//! One known way to die, or to bind, for each subcommand.
//!
//! The tests need processes whose end is known beforehand, and nothing of a machine's own tools
//! may stand between (a guest has only busybox). What a test has to know is printed as
//! `key=value` lines, flushed before the deed; every key that ends in `pid` names a process that
//! the test owns from then on. Wrappers (`in-cgroup`, `as-user`, …) change one thing and then run
//! the rest of the command line in the same process.

mod args;
mod bench;
mod children;
mod end;
mod fault;
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

/// A command's own exit code, or what was wrong with how it was called.
type Outcome = Result<i32, String>;

/// Told from every code that a command is asked to exit with.
const WRONG_USAGE: u8 = 99;

type Command = (&'static str, fn(Args) -> Outcome);

/// Each module lists its own, so that a new way to die is one function and one line beside it.
const COMMANDS: [&[Command]; 14] = [
    bench::COMMANDS,
    end::COMMANDS,
    fault::COMMANDS,
    limit::COMMANDS,
    load::COMMANDS,
    seccomp::COMMANDS,
    signals::COMMANDS,
    terminal::COMMANDS,
    threads::COMMANDS,
    children::COMMANDS,
    memory::COMMANDS,
    ports::COMMANDS,
    ways::COMMANDS,
    wrap::COMMANDS,
];

/// Runs the command that `args` begins with. Wrappers come back here with the rest.
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
