//! Multi-threaded processes, which do not end with their first thread.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::Barrier;
use std::thread::{self, JoinHandle};

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("leader-first", leader_first),
    ("threads", threads),
    ("worker-exits", worker_exits),
    ("exec-from-thread", exec_from_thread),
];

/// The leader's own code. An `exit` with it would be wrong: only one thread was looked at.
const LEADER_CODE: i32 = 3;
/// The code of the process.
const LAST_CODE: i32 = 7;

/// `leader-first group|last|wait [CODE]`: the first thread exits with 3. Once it is a zombie, the other one ends the
/// process with CODE or 7, by `exit_group` or as the last thread; or it waits to be killed.
fn leader_first(mut args: Args) -> Outcome {
    let how = args.text("group|last|wait")?;
    let last = args.number_or(LAST_CODE);
    spawn(move || {
        while !leader_is_gone() {
            sys::sleep_ms(1);
        }
        match how.as_str() {
            "group" => sys::leave(last),
            "last" => sys::leave_thread(last),
            _ => {
                sys::say("ready", 1);
                sys::pause_for_good()
            }
        }
    })?;
    sys::leave_thread(LEADER_CODE)
}

/// A thread with another name than the process.
fn spawn<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, String> {
    let named = thread::Builder::new().name("a-thread".to_owned());
    named.spawn(body).map_err(|why| why.to_string())
}

/// Whether the leader is a zombie.
fn leader_is_gone() -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", sys::own_pid()));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// `threads N CODE`: N threads exit one by one, all at the same moment.
fn threads(mut args: Args) -> Outcome {
    let number: usize = args.number("N")?;
    let code = args.number("CODE")?;
    let together: &'static Barrier = Box::leak(Box::new(Barrier::new(number)));
    for _ in 1..number {
        spawn(move || {
            together.wait();
            sys::leave_thread(code)
        })?;
    }
    together.wait();
    sys::leave_thread(code)
}

/// `worker-exits CODE`: a thread that is not the leader ends the process.
fn worker_exits(mut args: Args) -> Outcome {
    let code = args.number("CODE")?;
    spawn(move || sys::leave(code))?;
    sys::pause_for_good()
}

/// `exec-from-thread COMMAND…`: a thread that is not the leader executes COMMAND, under the same pid: the kernel ends
/// the old leader, the process lives.
fn exec_from_thread(mut args: Args) -> Outcome {
    let mut words: Vec<OsString> = vec![args.os("COMMAND")?];
    while let Ok(word) = args.os("") {
        words.push(word);
    }
    let become_it = move || process::Command::new("/proc/self/exe").args(words).exec();
    match spawn(become_it)?.join() {
        Ok(why) => Err(format!("exec: {why}")),
        Err(_) => Err("the thread panicked".to_owned()),
    }
}
