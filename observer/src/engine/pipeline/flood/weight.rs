//! How much an event counts, and how much memory it takes: whoever chooses long arguments must not get more of the record.

use crate::model::{Body, Process};

/// So many bytes of chosen texts are an event's own; whoever has more pays for more than one event.
const FREE: usize = 512;
/// About what an event and its process take besides their texts.
const BASE: usize = 2048;

/// How many it stands for: a refusal may say how many more there were like it.
pub(super) fn stands_for(body: &Body) -> u64 {
    match body {
        Body::Bind(bind) => bind.count(),
        _ => 1,
    }
}

/// How many tokens it takes.
pub(super) fn weight(body: &Body) -> u64 {
    let mut texts = 0;
    each_process(body, &mut |process| texts += in_json(process));
    1 + (texts / FREE) as u64
}

/// About how much memory it takes, in bytes.
pub(super) fn memory(body: &Body) -> usize {
    let mut bytes = BASE;
    each_process(body, &mut |process| {
        let args = process.args.as_deref().unwrap_or_default();
        let hex = process.args_hex.as_deref().unwrap_or_default();
        bytes += BASE + in_json(process) + (args.len() + hex.len()) * 2 * size_of::<String>();
    });
    if let Body::Exit(exit) = body {
        bytes += exit.released.len() * BASE / 4;
    }
    bytes
}

fn each_process(body: &Body, each: &mut dyn FnMut(&Process)) {
    match body {
        Body::Exit(exit) => {
            each(&exit.process);
            let prompted = exit.cause.prompted_by.as_deref().and_then(|p| p.sender.as_ref());
            exit.cause.sender.as_deref().into_iter().chain(prompted).for_each(each);
        }
        Body::Bind(bind) => {
            each(&bind.process);
            bind.holders.iter().for_each(|holder| each(&holder.process));
            bind.cause.left_by.as_deref().into_iter().for_each(each);
        }
        Body::Listen(listen) => each(&listen.process),
        Body::Release(release) => release.process.iter().for_each(each),
        _ => {}
    }
}

/// Bytes of the texts that a process chooses, as they are in JSON.
fn in_json(process: &Process) -> usize {
    let args = process.args.iter().flat_map(|args| args.iter());
    let args: usize = args.map(|arg| escaped(arg) + 3).sum();
    let hex = process.args_hex.iter().flatten().map(|hex| hex.len() + 3);
    let of_bytes = [&process.exe_hex, &process.cgroup_hex].into_iter().flatten().map(String::len);
    let paths = [&process.exe, &process.cgroup].into_iter().flatten().map(|path| escaped(path));
    args + hex.chain(of_bytes).chain(paths).sum::<usize>()
}

fn escaped(text: &str) -> usize {
    let length = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(length).sum()
}
