//! Either order, shared memory, expiry, groups.

use super::{EXIT_WAITS_NS, Joiner, OOM_WAITS_NS, Ready};
use crate::{
    decode::{
        Exit, KernelEvent, Oom,
        samples::{exit, kernel_note, note, oom, oom_exit},
    },
    diagnose::oom::Join,
};

/// A joiner, and what came out of it: `oom 20 with 20`, `exit 20`.
#[derive(Default)]
struct Bench {
    joiner: Joiner,
    emitted: Vec<String>,
}

impl Bench {
    fn push(&mut self, event: KernelEvent, now_ns: u64) {
        let mut ready = Vec::new();
        self.joiner.push(event, now_ns, &mut ready);
        self.emit(ready);
    }

    fn oom(&mut self, oom: Oom) {
        self.push(KernelEvent::Oom(Box::new(oom)), 0);
    }

    fn exit(&mut self, exit: Exit) {
        self.push(KernelEvent::Exit(Box::new(exit)), 0);
    }

    fn expire(&mut self, now_ns: u64) {
        let mut ready = Vec::new();
        self.joiner.expire(now_ns, &mut ready);
        self.emit(ready);
    }

    /// As the pipeline does: an emitted OOM kill is remembered; a death is emitted with the one it belongs to.
    fn emit(&mut self, ready: Vec<Ready>) {
        for ready in ready {
            let line = match ready {
                Ready::Oom(oom, exit) => {
                    let victim = oom.victim.record.tgid;
                    let join =
                        Join { seq: 0, victim, scope: None, limit_cgroup: None, limit_bytes: None };
                    self.joiner.emitted(&oom, join);
                    match exit {
                        Some(exit) => format!("oom {victim} with {}", exit.task.record.tgid),
                        None => format!("oom {victim}"),
                    }
                }
                Ready::Exit(exit) => match self.joiner.find(&exit) {
                    Some(join) => format!("exit {} by oom {}", exit.task.record.tgid, join.victim),
                    None => format!("exit {}", exit.task.record.tgid),
                },
            };
            self.emitted.push(line);
        }
    }
}

/// A process that shares the memory of `other`.
fn sharing(mut exit: Exit, other: u32) -> Exit {
    exit.task.record.mm = oom(other, other).victim.record.mm;
    exit
}

#[test]
fn the_oom_kill_first() {
    let mut bench = Bench::default();
    bench.oom(oom(20, 21));
    assert_eq!(bench.joiner.deadline_ns(), Some(OOM_WAITS_NS));
    bench.exit(oom_exit(20, 21));
    assert_eq!(bench.emitted, ["oom 20 with 20", "exit 20 by oom 20"]);
    assert_eq!(bench.joiner.deadline_ns(), None);
}

#[test]
fn the_death_first() {
    let mut bench = Bench::default();
    bench.exit(oom_exit(20, 21));
    assert_eq!(bench.joiner.deadline_ns(), Some(EXIT_WAITS_NS));
    bench.oom(oom(20, 21));
    assert_eq!(bench.emitted, ["oom 20 with 20", "exit 20 by oom 20"]);
}

#[test]
fn only_deaths_that_may_be_its_doing_wait() {
    let mut bench = Bench::default();
    let mut by_hand = exit(22, 9);
    by_hand.notes.push(note(9, 21));
    bench.exit(by_hand);
    let mut crash = exit(23, 11);
    crash.notes.push(kernel_note(11, 23));
    bench.exit(crash);
    bench.exit(exit(24, 0));
    bench.exit(exit(25, 9));
    assert_eq!(bench.emitted, ["exit 22", "exit 23", "exit 24", "exit 25"]);
}

#[test]
fn nothing_waits_for_ever() {
    let mut bench = Bench::default();
    bench.oom(oom(20, 21));
    bench.exit(oom_exit(30, 31));
    bench.expire(EXIT_WAITS_NS - 1);
    assert!(bench.emitted.is_empty());
    bench.expire(EXIT_WAITS_NS);
    assert_eq!(bench.emitted, ["exit 30"]);
    bench.expire(OOM_WAITS_NS);
    assert_eq!(bench.emitted, ["exit 30", "oom 20"]);
    // A victim that was stuck in the kernel is still known when it ends.
    bench.exit(oom_exit(20, 21));
    assert_eq!(bench.emitted.last().map(String::as_str), Some("exit 20 by oom 20"));
}

#[test]
fn at_the_end_oom_kills_come_out_before_deaths() {
    let mut bench = Bench::default();
    bench.exit(sharing(oom_exit(30, 31), 30));
    bench.oom(oom(20, 21));
    bench.expire(u64::MAX);
    assert_eq!(bench.emitted, ["oom 20", "exit 30"]);
}

#[test]
fn whoever_shares_the_memory_dies_along() {
    let mut bench = Bench::default();
    bench.oom(oom(20, 40));
    bench.exit(sharing(oom_exit(21, 40), 20));
    bench.exit(oom_exit(20, 40));
    bench.exit(sharing(oom_exit(22, 40), 20));
    let emitted = ["oom 20", "exit 21 by oom 20", "exit 20 by oom 20", "exit 22 by oom 20"];
    assert_eq!(bench.emitted, emitted);
}

/// It asked for memory itself, so that the kernel's SIGKILL seems to be its own.
#[test]
fn a_sharer_that_asked_dies_along_too() {
    let mut bench = Bench::default();
    bench.oom(oom(20, 21));
    bench.exit(oom_exit(20, 21));
    bench.exit(sharing(oom_exit(21, 21), 20));
    assert_eq!(bench.emitted, ["oom 20 with 20", "exit 20 by oom 20", "exit 21 by oom 20"]);
}

#[test]
fn sharing_is_no_cause_of_other_deaths() {
    let mut bench = Bench::default();
    bench.oom(oom(20, 40));
    bench.exit(oom_exit(20, 40));
    let mut by_hand = sharing(exit(21, 9), 20);
    by_hand.notes.push(note(9, 40));
    bench.exit(by_hand);
    bench.exit(sharing(exit(22, 0), 20));
    assert_eq!(bench.emitted[2..], ["exit 21", "exit 22"]);
}

#[test]
fn a_group_is_a_kill_for_each_member() {
    let mut bench = Bench::default();
    for pid in [20, 21, 22] {
        bench.oom(oom(pid, 20));
    }
    for pid in [22, 20, 21] {
        bench.exit(oom_exit(pid, 20));
    }
    let emitted = [
        "oom 22 with 22",
        "exit 22 by oom 22",
        "oom 20 with 20",
        "exit 20 by oom 20",
        "oom 21 with 21",
        "exit 21 by oom 21",
    ];
    assert_eq!(bench.emitted, emitted);
}

#[test]
fn a_process_that_was_only_marked_was_not_killed() {
    let mut bench = Bench::default();
    let mut marked = oom(20, 21);
    marked.record.flags = 0;
    bench.oom(marked);
    let mut exit = exit(20, 0);
    exit.record.oom_mm = 1;
    bench.exit(exit);
    assert_eq!(bench.emitted, ["exit 20"]);
}

#[test]
fn a_reused_pid_is_another_victim() {
    let mut bench = Bench::default();
    bench.oom(oom(20, 21));
    let mut other = oom_exit(20, 21);
    other.task.record.start_time_ns += 1;
    other.task.record.mm = 1;
    bench.exit(other);
    bench.expire(u64::MAX);
    assert_eq!(bench.emitted, ["oom 20", "exit 20"]);
}

/// The victim died on another CPU between its SIGKILL and its mark, and took the note of the signal along.
#[test]
fn dead_before_it_was_marked() {
    let unmarked = || {
        let mut oom = oom(20, 21);
        oom.record.flags = 0;
        oom
    };
    let mut bench = Bench::default();
    bench.exit(oom_exit(20, 21));
    bench.oom(unmarked());
    bench.oom(unmarked());
    bench.exit(oom_exit(20, 21));
    let emitted = ["oom 20 with 20", "exit 20 by oom 20"];
    assert_eq!(bench.emitted, [emitted, emitted].concat());
}

#[test]
fn ending_anyway_and_only_marked() {
    let mut marked = oom(20, 21);
    marked.record.flags = 0;
    let mut bench = Bench::default();
    bench.oom(marked.clone());
    bench.exit(exit(20, 9));
    bench.expire(OOM_WAITS_NS);
    assert_eq!(bench.emitted, ["exit 20"]);
    // Whoever shares its memory was not killed for it either.
    let mut bench = Bench::default();
    bench.oom(marked);
    bench.exit(sharing(oom_exit(22, 21), 20));
    bench.expire(OOM_WAITS_NS);
    assert_eq!(bench.emitted, ["exit 22"]);
}
