//! Processes of several threads, whose end is not that of the thread that began them.

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

/// What the leader leaves with; a report that says so looked at one thread only.
const LEADER_CODE: i32 = 3;
/// What ends the process, long after.
const LAST_CODE: i32 = 7;

/// `leader-first group|last|wait [CODE]`: the first thread leaves with 3. The other one, once the first
/// is a zombie, ends the process with CODE or 7: by `exit_group`, or as the last thread to leave; or it
/// waits to be killed.
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

/// A thread under a name of its own, which is not the process's.
fn spawn<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, String> {
    let named = thread::Builder::new().name("a-thread".to_owned());
    named.spawn(body).map_err(|why| why.to_string())
}

/// The leader's state, the word after the name in brackets, is Z.
fn leader_is_gone() -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", sys::own_pid()));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// `threads N CODE`: N threads in all leave one by one, all at the same moment.
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

/// `exec-from-thread COMMAND…`: a thread that is not the leader becomes COMMAND, under the same
/// pid: the old leader is ended by the kernel, the process lives.
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
