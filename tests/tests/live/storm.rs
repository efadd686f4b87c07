//! Many exits at once: each is reported once, or counted as lost.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use observer_tests::{
    Events, Finished, Observer, Workload, binaries, deaths, run, wait_for_children,
};

crate::tests![
    kill_2000_report_2000,
    storm_of_10000,
    storm_of_10000_with_a_blocked_reader,
    zero_exits_are_left_out_by_default,
    alternating_programs_use_the_exit_cache,
];

/// How many different children of `parent` have an `exit`. None may have two.
fn different_children(events: &Events, parent: &Workload) -> usize {
    let mut seen = HashSet::new();
    for exit in events.exits_of_children(parent.pid()) {
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
    let events = observer.stop().events;
    events.assert_all_reported(&[pid], 2000);
    assert_eq!(different_children(&events, &parent), events.exits_of_children(pid).count());
    assert_eq!(events.lost_of("exit"), 0, "{events}");
    for exit in events.exits_of_children(pid) {
        assert_eq!(exit["status"]["signal"], libc::SIGKILL, "{exit}");
        assert_eq!(exit["cause"]["type"], "killed", "{exit}");
        assert_eq!(exit["cause"]["sender"]["pid"], pid, "{exit}");
    }
}

/// Losses are counted for the whole machine: they must cover the missing exits of the test, and without a loss none
/// may be missing.
fn assert_nothing_missing(finished: &Finished, parent: &Workload, sent: usize) {
    let seen = different_children(&finished.events, parent);
    let lost = unreported(finished);
    assert!(seen <= sent, "{seen} of {sent} ended");
    assert!(seen + lost >= sent, "{sent} ended, {seen} reported, {lost} lost");
    assert!(lost > 0 || seen == sent, "{sent} ended, {seen} reported, none lost");
}

/// The last line counts lost events, and those that the reader did not take in the last second: losses may be among
/// these.
fn unreported(finished: &Finished) -> usize {
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
    assert_nothing_missing(&observer.stop(), &parent, 10_000);
}

fn storm_of_10000_with_a_blocked_reader() {
    let observer = Observer::tail_hanging(&["--all"]);
    let (mut parent, _) = run(["storm", "10000", "1"]);
    assert_eq!(parent.number("total"), 10_000);
    // The last exit may be lost too, so the test waits only for the end.
    assert_nothing_missing(&observer.stop(), &parent, 10_000);
}

/// The kernel side leaves out exits with code 0, and only those.
fn zero_exits_are_left_out_by_default() {
    let mut observer = Observer::tail(&[]);
    let (ordinary, _) = run(["storm", "500", "0"]);
    let abnormal = deaths(&mut observer, 50);
    let events = observer.stop().events;
    assert_eq!(different_children(&events, &ordinary), 0);
    events.assert_all_reported(&[abnormal.pid()], 50);
}

/// Paths of one length share a cache slot. (A path and its cgroup must not evict each other either, but that shows in
/// the time alone.)
fn alternating_programs_use_the_exit_cache() {
    const ROUNDS: usize = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let programs = ["one", "two"].map(|name| folder.path().join(name).join("program"));
    for program in &programs {
        fs::create_dir(program.parent().expect("a folder")).expect("room");
        fs::copy(binaries::workload(), program).expect("room for a copy");
    }
    let capture = folder.path().join("capture");
    let mut observer = Observer::tail(&["--all", "--capture", capture.to_str().expect("UTF-8")]);
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
    let bytes = fs::read(&capture).expect("it was asked for");
    // In the capture an argument ends with a zero byte; a cached path has another order.
    let in_full = programs.iter().map(|program| {
        let argument = [program.as_os_str().as_encoded_bytes(), b"\0"].concat();
        bytes.windows(argument.len()).filter(|part| *part == argument).count()
    });
    let in_full: usize = in_full.sum();
    assert!(in_full > 1, "{in_full}: neither was recorded in full");
    // Each processor caches both; other exits of the machine may evict one now and then.
    assert!(in_full < ROUNDS, "{in_full} of {} were recorded in full", 2 * ROUNDS);
}
