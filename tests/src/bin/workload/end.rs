//! A process ends itself.

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] =
    &[("exit", exit), ("abort", abort), ("raise", raise), ("pipe", pipe)];

/// `exit CODE [MS]`: exits with CODE after MS milliseconds. Further words are ignored, so that a test can choose any
/// command line.
fn exit(mut args: Args) -> Outcome {
    let code = args.number("CODE")?;
    let delay = args.number_or(0);
    if delay > 0 {
        sys::sleep_ms(delay);
    }
    sys::leave(code)
}

/// `abort`: SIGABRT, by the C library's abort(3).
fn abort(_args: Args) -> Outcome {
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

/// `raise SIGNAL`: sends SIGNAL to itself.
fn raise(mut args: Args) -> Outcome {
    let signal = args.number("SIGNAL")?;
    // SAFETY: takes an integer.
    unsafe { libc::raise(signal) };
    sys::pause_for_good()
}

/// `pipe`: writes to a pipe without a reader.
fn pipe(_args: Args) -> Outcome {
    let (reader, writer) = std::io::pipe().map_err(|why| why.to_string())?;
    drop(reader);
    std::io::Write::write_all(&mut &writer, b"x").map_err(|why| why.to_string())?;
    Err("a write without a reader came back".to_owned())
}
