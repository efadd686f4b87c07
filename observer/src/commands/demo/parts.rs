//! The parts of the plot, each a process of its own: this same program under a hidden subcommand. Each says on its
//! standard output, to the demo, who it is, and ends when its standard input does: the demo has the other end, however
//! it dies.

mod supervisor;
mod worker;

pub(super) use worker::GROW;

use std::{ffi::CStr, io::stdin, net::TcpListener, os::unix::process::CommandExt as _, process};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FileType, fstat},
    io::Errno,
    process::{Signal, getpid, set_parent_process_death_signal},
};

use crate::{
    cli::{DemoPartArgs, Part},
    error::{Failure, status},
    stdout,
};

/// Plays one part.
pub fn run(args: &DemoPartArgs) -> Result<u8> {
    // Anything else may never end, and so would the part.
    if !FileType::from_raw_mode(fstat(stdin())?.st_mode).is_fifo() {
        let text = "this is a part of `observer demo`, and does nothing alone";
        return Err(Failure::Usage(text.to_owned()).into());
    }
    match &args.part {
        Part::Supervisor { limit_bytes, group } => {
            supervisor::run(*limit_bytes, group.as_deref())?;
        }
        Part::Worker { most_bytes, group } => worker::first(*most_bytes, group.as_deref())?,
        Part::Holder => holder()?,
        Part::Replacement { port } => return worker::replacement(*port),
    }
    Ok(status::DONE)
}

/// This program again, to play that part; it takes all descriptors along that are not closed on purpose.
#[must_use]
pub(super) fn part(name: &str) -> process::Command {
    let mut command = process::Command::new("/proc/self/exe");
    command.arg0("observer").args(["demo-part", name]);
    command
}

/// Keeps the worker's listening socket open and does nothing with it, as what a crash leaves behind often does. It has to
/// outlive its parent: nothing but the demo's end ends it.
fn holder() -> Result<()> {
    name(c"demo-holder")?;
    report("holder", None)?;
    wait(None).map(drop)
}

/// It is shown under this name.
fn name(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name).context("can't take a name")
}

/// Dies when its parent does, whatever it does then.
fn die_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("can't follow the parent's death")
}

/// A line for the demo: `WORD PID [PORT]`.
fn report(word: &str, port: Option<u16>) -> Result<()> {
    let port = port.map(|port| format!(" {port}")).unwrap_or_default();
    let line = format!("{word} {}{port}\n", getpid().as_raw_nonzero());
    stdout::print(&line).context("nobody listens to this part of the demo")?;
    Ok(())
}

/// Waits until somebody connects, or until the demo is gone, which is `false`.
fn wait(listener: Option<&TcpListener>) -> Result<bool> {
    let stdin = stdin();
    // No flags, that is its end only: the lines that come before are for the supervisor.
    let mut all = vec![PollFd::new(&stdin, PollFlags::empty())];
    all.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
    loop {
        match poll(&mut all, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("can't wait"),
            Ok(_) => return Ok(all.first().is_some_and(|demo| demo.revents().is_empty())),
        }
    }
}
