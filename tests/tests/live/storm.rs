//! Many deaths at once: each is told once, or counted as lost.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use observer_tests::{
    Finished, Observer, Story, Workload, binaries, deaths, run, wait_for_children,
};

crate::tests![
    kill_2000_report_2000,
    storm_of_10000,
    storm_of_10000_while_the_terminal_hangs,
    ordinary_exits_that_nobody_asked_for,
    programs_in_turn_are_told_in_full_but_a_few_times,
];

/// How many different children of `parent` were told to have ended. None may come twice.
fn different_children(story: &Story, parent: &Workload) -> usize {
    let mut seen = HashSet::new();
    for exit in story.exits_of_children(parent.pid()) {
        let process = &exit["process"];
        let name = (process["pid"].as_u64(), process["start_time"].as_str().map(str::to_owned));
        assert!(seen.insert(name.clone()), "{name:?} ended twice");
    }
    seen.len()
}

fn kill_2000_report_2000() {
    let mut observer = Observer::tail(&[]);
    let (mut parent, _) = run(["storm-killed", "2000"]);
    assert_eq!(parent.number("total"), 2000);
    let pid = parent.pid();
    wait_for_children(&mut observer, &parent, 2000, 0);
    let story = observer.stop().story;
    story.assert_all_told(&[pid], 2000);
    assert_eq!(different_children(&story, &parent), story.exits_of_children(pid).count());
    assert_eq!(story.lost_of("exit"), 0, "{story}");
    for exit in story.exits_of_children(pid) {
        assert_eq!(exit["status"]["signal"], libc::SIGKILL, "{exit}");
        assert_eq!(exit["cause"]["type"], "killed", "{exit}");
        assert_eq!(exit["cause"]["sender"]["pid"], pid, "{exit}");
    }
}

/// Losses are counted for the whole machine: what is missing of ours is at most that, and when
/// nothing was lost nothing is missing.
fn assert_nothing_unsaid(finished: &Finished, parent: &Workload, sent: usize) {
    let seen = different_children(&finished.story, parent);
    let lost = unsaid(finished);
    assert!(seen <= sent, "{seen} of {sent} ended");
    assert!(seen + lost >= sent, "{sent} ended, {seen} were told and {lost} said to be lost");
    assert!(lost > 0 || seen == sent, "{sent} ended, {seen} were told, none said to be lost");
}

/// Its last line counts what was lost, and what it could not write within its last second, since the reader was too slow:
/// that some were lost may be among it.
fn unsaid(finished: &Finished) -> usize {
    let last = finished.stderr.last().map(String::as_str).unwrap_or_default();
    let parts = last.split([',', ';']).map(|part| part.trim().trim_start_matches("at most "));
    let counts = parts.filter(|part| part.ends_with(" lost") || part.contains(" not shown"));
    let number = |part: &str| part.split(' ').next().and_then(|count| count.parse::<usize>().ok());
    counts
        .map(|part| number(part).unwrap_or_else(|| panic!("no number in {part:?} of {last:?}")))
        .sum()
}

fn storm_of_10000() {
    let mut observer = Observer::tail(&["--all"]);
    let (mut parent, _) = run(["storm", "10000", "1"]);
    assert_eq!(parent.number("total"), 10_000);
    observer.exit_of(parent.pid());
    assert_nothing_unsaid(&observer.stop(), &parent, 10_000);
}

fn storm_of_10000_while_the_terminal_hangs() {
    let observer = Observer::tail_hanging(&["--all"]);
    let (mut parent, _) = run(["storm", "10000", "1"]);
    assert_eq!(parent.number("total"), 10_000);
    // The last one may itself be among the lost, so there is nothing to wait for but its end.
    assert_nothing_unsaid(&observer.stop(), &parent, 10_000);
}

/// Left out in the kernel already; the abnormal ones among them are not.
fn ordinary_exits_that_nobody_asked_for() {
    let mut observer = Observer::tail(&[]);
    let (ordinary, _) = run(["storm", "500", "0"]);
    let abnormal = deaths(&mut observer, 50);
    let story = observer.stop().story;
    assert_eq!(different_children(&story, &ordinary), 0);
    story.assert_all_told(&[abnormal.pid()], 50);
}

/// Names and records of one length: the kernel side looks for both in the same places. Nor may a program's path and its cgroup's
/// push each other out, but that shows in the time alone.
fn programs_in_turn_are_told_in_full_but_a_few_times() {
    const ROUNDS: usize = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let programs = ["one", "two"].map(|name| folder.path().join(name).join("program"));
    for program in &programs {
        fs::create_dir(program.parent().expect("a folder")).expect("room");
        fs::copy(binaries::workload(), program).expect("room for a copy");
    }
    let recording = folder.path().join("recording");
    let mut observer = Observer::tail(&["--all", "--record", recording.to_str().expect("UTF-8")]);
    for _ in 0..ROUNDS {
        for program in &programs {
            let mut command = Command::new(program);
            command.args(["exit", "0"]);
            let mut workload = Workload::from(command);
            workload.wait();
            let exit = observer.exit_of(workload.pid());
            assert_eq!(exit["process"]["exe"], program.to_str().expect("UTF-8"));
        }
    }
    observer.stop();
    let bytes = fs::read(&recording).expect("it was asked for");
    // An argument ends with a zero byte; a path that the kernel keeps has another order.
    let in_full = programs.iter().map(|program| {
        let argument = [program.as_os_str().as_encoded_bytes(), b"\0"].concat();
        bytes.windows(argument.len()).filter(|part| *part == argument).count()
    });
    let in_full: usize = in_full.sum();
    assert!(in_full > 1, "{in_full}: neither was told");
    // Each processor learns both; what else dies on the machine may push one out now and then.
    assert!(in_full < ROUNDS, "{in_full} of {} were told in full", 2 * ROUNDS);
}
