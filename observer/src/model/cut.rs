//! Makes an event shorter whose line would be too long. A process chooses its arguments, and how many sockets and relatives it has.
//!
//! **Invariant:** who, when and why stays; what is left out is counted, or named in `missing`.

use std::sync::Arc;

use super::{Body, Event, Process};

/// Most bytes of an event's line, its end included.
pub const LINE_MAX: usize = 256 * 1024;
/// Most steps of [`Event::cut`], each of which leaves less.
pub const CUTS: u32 = 3;

/// How much is left after a step.
struct Left {
    /// Bytes of each process's arguments.
    args: usize,
    /// Holders, and released sockets.
    holders: usize,
    released: usize,
    /// Bytes of a path or of a sentence.
    text: usize,
    /// Sentences of an incident, and numbers of its events.
    sentences: usize,
}

const STEPS: [Left; CUTS as usize] = [
    Left { args: 512, holders: 16, released: 256, text: 4096, sentences: 128 },
    Left { args: 64, holders: 8, released: 64, text: 1024, sentences: 64 },
    Left { args: 0, holders: 4, released: 16, text: 256, sentences: 32 },
];

impl Event {
    /// Leaves out what makes it long, more with each `step` from 0 to [`CUTS`] - 1.
    pub fn cut(&mut self, step: u32) {
        let Some(left) = STEPS.get(step as usize) else { return };
        match &mut self.body {
            Body::Exit(exit) => {
                let exit = Arc::make_mut(exit);
                process(&mut exit.process, left);
                cause(Arc::make_mut(&mut exit.cause), left);
                if exit.released.len() > left.released {
                    exit.released_total.get_or_insert(exit.released.len() as u64);
                    exit.released.truncate(left.released);
                }
            }
            Body::Bind(bind) => {
                let bind = Arc::make_mut(bind);
                process(&mut bind.process, left);
                cause(&mut bind.cause, left);
                bind.holders.truncate(left.holders);
                bind.holders.iter_mut().for_each(|holder| process(&mut holder.process, left));
            }
            Body::Oom(oom) => {
                process(&mut oom.victim, left);
                process(&mut oom.trigger, left);
            }
            Body::Listen(listen) => process(&mut listen.process, left),
            Body::Release(release) => {
                release.process.iter_mut().for_each(|last| process(last, left));
            }
            Body::Incident(incident) => {
                let more = incident.sentences.len().saturating_sub(left.sentences);
                if more > 0 {
                    incident.sentences.truncate(left.sentences);
                    incident.unknown.push(format!("{more} more sentences have no room here"));
                }
                for sentence in &mut incident.sentences {
                    shorten(&mut sentence.text, left.text);
                    sentence.events.truncate(left.sentences);
                }
                shorten(&mut incident.summary, left.text);
                incident.unknown.iter_mut().for_each(|text| shorten(text, left.text));
                incident.sockets.truncate(left.sentences);
                incident.units.truncate(left.sentences);
            }
            Body::Flood(flood) => {
                flood.cgroup.iter_mut().for_each(|path| shorten(path, left.text));
            }
            Body::Loss(_) | Body::Session(_) => {}
        }
    }
}

fn cause(cause: &mut super::Cause, left: &Left) {
    let of_prompt = cause.prompted_by.iter_mut().filter_map(|prompt| prompt.sender.as_mut());
    let named = cause.sender.iter_mut().chain(&mut cause.left_by).map(|named| &mut **named);
    named.chain(of_prompt).for_each(|named| process(named, left));
    cause.evidence.truncate(left.sentences);
    for text in &mut cause.evidence {
        if text.len() > left.text {
            shorten(text.to_mut(), left.text);
        }
    }
    if cause.summary.len() > left.text {
        shorten(cause.summary.to_mut(), left.text);
    }
}

/// Cuts the arguments and the paths of a process.
fn process(process: &mut Process, left: &Left) {
    if let Some(args) = &process.args
        && args.iter().map(String::len).sum::<usize>() > left.args
    {
        let whole = args.iter().map(|arg| arg.len() as u64 + 1).sum();
        process.args_total_bytes.get_or_insert(whole);
        process.args_hex = None;
        process.args = first(args, left.args);
        process.missing.insert("args".into(), "most of them would make the line too long".into());
    }
    for path in [&mut process.exe, &mut process.cgroup] {
        if let Some(long) = path.as_deref().filter(|path| path.len() > left.text) {
            let mut short = long.to_owned();
            shorten(&mut short, left.text);
            *path = Some(short.into());
        }
    }
    for hex in [&mut process.exe_hex, &mut process.cgroup_hex] {
        if hex.as_ref().is_some_and(|hex| hex.len() > left.text) {
            *hex = None;
        }
    }
}

/// The first arguments, up to so many bytes in all, and a mark that some are missing.
fn first(args: &[String], most: usize) -> Option<Arc<[String]>> {
    let mut room = most;
    let mut kept = Vec::new();
    for arg in args {
        let mut arg = arg.clone();
        let whole = arg.len() <= room;
        if !whole {
            shorten(&mut arg, room);
        }
        room = room.saturating_sub(arg.len());
        kept.push(arg);
        if !whole {
            break;
        }
    }
    (most > 0).then(|| kept.into())
}

fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cut_event_still_says_who_and_why() {
        let long: Vec<String> = (0..64).map(|n| format!("{n}{}", "\u{1}".repeat(64))).collect();
        let process = json!({"pid": 7, "comm": "node", "args": long, "exe": "/x".repeat(2000)});
        let socket = json!({"protocol": "tcp", "port": 8080});
        let holder = json!({"process": process, "socket": socket, "relation": "stranger"});
        let cause = json!({"type": "held", "summary": "node 7 serves it", "evidence": ["a"], "confidence": "certain"});
        let mut event: Event = serde_json::from_value(json!({
            "schema": 2, "seq": 1, "time": "2026-11-22T14:32:15Z", "boot_id": "b", "host": "h",
            "kind": "bind", "process": process, "call": "bind", "socket": socket,
            "error": {"errno": 98, "name": "EADDRINUSE"}, "holders": vec![holder; 16],
            "holders_total": 20, "cause": cause,
        }))
        .expect("an event");
        let mut before = usize::MAX;
        for step in 0..CUTS {
            event.cut(step);
            let len = serde_json::to_string(&event).expect("JSON").len();
            assert!(len < before, "step {step}: {len} bytes after {before}");
            before = len;
        }
        assert!(before < 16 * 1024, "{before} bytes");
        let Body::Bind(bind) = &event.body else { panic!("a bind") };
        assert_eq!((bind.process.pid, bind.holders_total, bind.holders.len()), (7, Some(20), 4));
        assert_eq!(bind.process.args_total_bytes, Some(64 * 65 + 10 + 54 * 2));
        assert!(bind.process.missing.contains_key("args"));
    }
}
