//! Deaths that are made from the one before them are byte for byte those that take the long way.
//!
//! The kernel's records go into one engine as they are, and completed ones into another, whose deaths all take the long way.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    decode::{
        Patterns,
        samples::{kernel_note, like_bytes},
    },
    format::json::{self, JsonLines},
};
use observer_common::signal::{NOTE_SENDER_EXITING, NOTE_SENDER_NS_INIT};

/// How many kinds of deaths there are, each with a pattern of its own.
const KINDS: u32 = 16;

/// One process that dies, and what else happens before.
#[derive(Clone, Debug)]
struct Step {
    kind: u32,
    pid: u32,
    ppid: u32,
    after_ns: u64,
    age_ns: u64,
    peak: u64,
    other: u32,
}

fn death_of(step: &Step, time_ns: u64) -> Exit {
    let exited = |code: u32| exit(step.pid, code << 8);
    let signalled = |signal, mut note: crate::decode::Note| {
        let mut death = exit(step.pid, signal);
        if note.record.sender.tgid == step.pid {
            note.sender = None;
        }
        death.notes.push(note);
        death
    };
    let by_init = || {
        let mut note = kernel_note(9, 60);
        note.record.flags |= NOTE_SENDER_EXITING | NOTE_SENDER_NS_INIT;
        note
    };
    let hung_up = || {
        let mut note = kernel_note(1, step.pid);
        note.record.flags |= NOTE_SENDER_EXITING;
        note
    };
    let mut death = match step.kind {
        0 => exited(0),
        1 => exited(1),
        // As a shell whose child was killed, and as one that was asked to end.
        2 => exited(137),
        3 => {
            let mut death = exited(1);
            death.notes.push(note(15, 50));
            death
        }
        4 => signalled(15, note(15, 50)),
        5 => signalled(9, note(9, 50)),
        6 => signalled(9, kernel_note(9, 50)),
        7 => signalled(6, note(6, step.pid)),
        8 => signalled(15, note(15, step.pid)),
        9 => signalled(9, by_init()),
        10 => signalled(1, hung_up()),
        11 => exit(step.pid, 11),
        12 => exit(step.pid, 9),
        13 => {
            let mut death = exited(3);
            death.task.args = Bytes::from_static(b"seq\x001\x004031415927\x00\"17\"\x00\xff\x00");
            death.task.record.args_total = 25;
            death
        }
        14 => {
            let mut death = exited(4);
            (death.task.record.ns_level, death.task.record.netns) = (1, 0);
            death.task.record.comm[..5].copy_from_slice(b"a\xffb\"c");
            death
        }
        _ => {
            let mut death = exited(0);
            (death.task.record.uid, death.task.args) = (1000, Bytes::new());
            death
        }
    };
    death.time_ns = time_ns;
    death.record.peak_rss_pages = step.peak;
    let task = &mut death.task.record;
    (task.ppid, task.ns_pid) = (step.ppid, step.pid % 7);
    task.start_time_ns += time_ns % 5_000_000_000;
    let (pid, start_ns) = (task.tgid, task.start_time_ns);
    for note in &mut death.notes {
        note.record.time_ns = time_ns - step.age_ns;
        note.record.target_start_ns = start_ns;
        if note.record.sender.tgid == pid {
            note.record.sender.start_time_ns = start_ns;
        }
    }
    death
}

/// The drains that the kernel side would send, with their moments.
fn drains(steps: &[Step], at_a_time: usize) -> Vec<(u64, Input)> {
    let (mut sent, mut now, mut out) = (HashMap::new(), DEATH, Vec::new());
    for steps in steps.chunks(at_a_time) {
        let mut records = Vec::new();
        for step in steps {
            now += step.after_ns;
            match step.other {
                0 => {
                    let mut kill = oom(step.pid, 22);
                    kill.time_ns = now - 1000;
                    records.push(oom_bytes(&kill));
                }
                1 => records.push(refused_bytes(step.pid, now)),
                2 => out.push((now, Input::Scan(Err("none".to_owned())))),
                3 => out.push((now, Input::Clock(i64::try_from(BOOT).expect("fits") + 60))),
                // The place of the pattern was taken by another one.
                4 => drop(sent.remove(&step.kind)),
                _ => {}
            }
            let mut death = death_of(step, now);
            let fillings = u32::try_from(sent.len()).expect("few");
            records.push(if let Some(pattern) = sent.get(&step.kind) {
                like_bytes(&death, *pattern)
            } else {
                death.record.pattern = (fillings + 1) << 16 | step.kind;
                sent.insert(step.kind, death.record.pattern);
                exit_bytes(&death)
            });
            if step.other == 5 {
                records.extend(records.last().cloned());
            }
        }
        out.push((now, Input::Records(records)));
    }
    out
}

/// The lines of both ways, and how many deaths took the short one.
fn both_ways(
    drains: Vec<(u64, Input)>,
    code_zero: CodeZero,
    ports: Option<bool>,
) -> (Vec<String>, Vec<String>, usize) {
    let (mut short, mut long) = (engine_with(code_zero, ports), engine_with(code_zero, ports));
    let (mut patterns, mut lines) = (Patterns::default(), JsonLines::default());
    let (mut ours, mut theirs, mut alike) = (Vec::new(), Vec::new(), 0);
    let mut emit = |event: Event| {
        let mut text = Vec::new();
        lines.line(&event, &mut text).expect("JSON");
        alike += usize::from(matches!(&event.body, Body::Exit(exit) if exit.shape.is_some()));
        ours.push(String::from_utf8(text).expect("UTF-8"));
    };
    let mut emit_long = |event: Event| {
        let mut text = Vec::new();
        json::line(&event, &mut text).expect("JSON");
        theirs.push(String::from_utf8(text).expect("UTF-8"));
    };
    for (now_ns, input) in drains {
        let completed = match &input {
            Input::Records(records) => Input::Records(
                records.iter().map(|record| patterns.read(record).whole().into_owned()).collect(),
            ),
            other => other.clone(),
        };
        short.push(now_ns, input, &mut emit);
        long.push(now_ns, completed, &mut emit_long);
        assert_eq!(short.wants_scan(now_ns).is_some(), long.wants_scan(now_ns).is_some());
        assert_eq!(short.deadline_ns(), long.deadline_ns());
    }
    short.finish(&mut emit);
    long.finish(&mut emit_long);
    (ours, theirs, alike)
}

prop_compose! {
    fn step()(
        kind in 0..KINDS,
        pid in 70_u32..900,
        ppid in 0_u32..3,
        after_ns in 0_u64..400_000_000,
        age_ns in 0_u64..2_000_000_000,
        peak in 0_u64..4,
        other in 0_u32..40,
    ) -> Step {
        Step { kind, pid, ppid, after_ns, age_ns, peak: peak * 100, other }
    }
}

proptest! {
    #[test]
    fn the_same_bytes(
        mut steps in prop::collection::vec(step(), 1..150),
        kinds in 1..KINDS,
        first in 0..KINDS,
        at_a_time in 1_usize..20,
        code_zero in prop_oneof![
            Just(CodeZero::Ignored),
            Just(CodeZero::Unnumbered),
            Just(CodeZero::Numbered),
        ],
        ports in prop_oneof![Just(None), Just(Some(false))],
    ) {
        // Few kinds at a time, so that many are alike.
        for step in &mut steps {
            step.kind = (first + step.kind % kinds) % KINDS;
        }
        let (ours, theirs, _) = both_ways(drains(&steps, at_a_time), code_zero, ports);
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn a_storm_takes_the_short_way() {
    // Those whose text holds a number of their own, or that something else decides about, never do.
    let never = [2, 3, 6, 10];
    for kind in 0..KINDS {
        let step = |pid| Step {
            kind,
            pid,
            ppid: 30,
            after_ns: 50_000,
            age_ns: 20_000 + u64::from(pid),
            peak: 100 + u64::from(pid),
            other: 9,
        };
        let steps: Vec<Step> = (70..170).map(step).collect();
        let (ours, theirs, alike) = both_ways(drains(&steps, 10), CodeZero::Numbered, None);
        assert_eq!(ours, theirs, "{kind}");
        // The second one confirms what the first one says.
        let expected = if never.contains(&kind) { 0 } else { 99 };
        assert_eq!(alike, expected, "{kind}");
    }
}
