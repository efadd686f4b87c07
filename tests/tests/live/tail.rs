//! `observer tail --json`: which events are printed, and how it starts and ends.

use observer_tests::{Cgroup, Events, Observer, Workload, run};

crate::tests![
    begins_with_a_session,
    open_file_limit_is_restored,
    zero_exits_only_with_all,
    filter_by_kind,
    filter_by_comm,
    filter_by_pid,
    filter_by_user,
    filter_by_unit needs CgroupV2,
    filter_by_container needs CgroupV2,
    filters_are_combined_with_and,
    seq_grows_by_one,
    evidence_does_not_name_filtered_events,
    two_observers,
    sigint_ends_with_a_summary,
    ebpf_log_is_not_on_stdout,
];

fn begins_with_a_session() {
    let observer = Observer::tail(&[]);
    let events = observer.stop().events;
    let first = &events.all[0];
    assert_eq!(first["kind"], "session");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a kernel");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a kernel");
    assert!(first["kernel"].to_string().contains(release.trim()), "{first:#}");
    assert_eq!(first["boot_id"], boot_id.trim());
    assert_eq!(first["host"], host.trim());
    assert!(!first["version"].is_null() && !first["hooks"].is_null(), "{first:#}");
    assert!(!first["clock"].is_null(), "{first:#}");
    assert_eq!(events.of_kind("session").count(), 1);
}

/// The limit on open files is lowered while the programs are loaded.
fn open_file_limit_is_restored() {
    let files = |pid: &str| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("readable");
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        line.expect("a limit").to_owned()
    };
    let observer = Observer::tail(&[]);
    assert_eq!(files(&observer.pid().to_string()), files("self"));
    observer.stop();
}

/// One process that the filter leaves out exits, then one that it lets through: only the second is reported.
fn only_the_second(flags: &[&str], unwanted: &[&str], wanted: &[&str]) {
    let mut observer = Observer::tail(flags);
    let (silent, _) = run(unwanted);
    let (reported, _) = run(wanted);
    observer.exit_of(reported.pid());
    let events = observer.stop().events;
    events.only_exit_of(reported.pid());
    assert_eq!(events.exits_of(silent.pid()).count(), 0, "{flags:?}; {events}");
}

fn zero_exits_only_with_all() {
    only_the_second(&[], &["exit", "0"], &["exit", "1"]);
    let mut observer = Observer::tail(&["--all"]);
    let (ordinary, _) = run(["exit", "0"]);
    let exit = observer.exit_of(ordinary.pid());
    observer.stop();
    assert_eq!(exit["status"]["code"], 0);
}

fn filter_by_kind() {
    let mut observer = Observer::tail(&["--kind", "exit"]);
    let (workload, _) = run(["exit", "1"]);
    observer.exit_of(workload.pid());
    observer.stop();
    let mut observer = Observer::tail(&["--kind", "exit,oom"]);
    let (workload, _) = run(["exit", "1"]);
    observer.exit_of(workload.pid());
    observer.stop();
}

fn filter_by_comm() {
    only_the_second(&["--comm", "wanted"], &["exit", "1"], &["named", "wanted", "exit", "1"]);
}

fn filter_by_pid() {
    let mut silent = Workload::start_ready(["wait"]);
    let mut reported = Workload::start_ready(["wait"]);
    let mut observer = Observer::tail(&["--pid", &reported.pid().to_string()]);
    for workload in [&mut silent, &mut reported] {
        workload.signal(libc::SIGTERM);
        workload.wait();
    }
    observer.exit_of(reported.pid());
    let events = observer.stop().events;
    assert_eq!(events.exits_of(silent.pid()).count(), 0, "{events}");
}

fn filter_by_user() {
    let wanted = ["as-user", "12345", "exit", "1"];
    only_the_second(&["--user", "12345"], &["exit", "1"], &wanted);
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if known.lines().any(|line| line.starts_with("root:")) {
        only_the_second(&["--user", "root"], &wanted, &["exit", "1"]);
    } else {
        only_the_second(&["--user", "0"], &wanted, &["exit", "1"]);
    }
}

fn filter_by_unit() {
    let group = Cgroup::v2("hello.service");
    let wanted = ["in-cgroup", group.arg(), "exit", "1"];
    only_the_second(&["--unit", &group.path[1..]], &["exit", "1"], &wanted);
}

fn filter_by_container() {
    let group = Cgroup::v2("containers");
    let container = group.child(&format!("docker-{}.scope", "fedcba9876543210".repeat(4)));
    let wanted = ["in-cgroup", container.arg(), "exit", "1"];
    only_the_second(&["--container", "fedcba987654"], &["exit", "1"], &wanted);
}

fn filters_are_combined_with_and() {
    let flags = ["--user", "12345", "--comm", "wanted"];
    let wanted = ["as-user", "12345", "named", "wanted", "exit", "1"];
    only_the_second(&flags, &["as-user", "12345", "exit", "1"], &wanted);
    only_the_second(&flags, &["named", "wanted", "exit", "1"], &wanted);
}

/// Over the events of all processes.
fn seq_grows_by_one() {
    let mut observer = Observer::tail(&["--all"]);
    let (storm, _) = run(["storm", "300", "2"]);
    observer.exit_of(storm.pid());
    let numbers = observer.stop().numbers;
    assert!(numbers.all.len() > 300, "{}", numbers.all.len());
    numbers.assert_unbroken();
}

/// Evidence may name an event by its `seq`: the right event or one that is not shown, never another one.
fn evidence_does_not_name_filtered_events() {
    let mut shell = Workload::start(["shell"]);
    let child = shell.pid_of("child_pid");
    let pid = shell.pid().to_string();
    let mut observer = Observer::tail(&["--pid", &pid]);
    let (_killer, _) = run(["send", "kill", "9", &child.to_string()]);
    shell.wait();
    let exit = observer.exit_of(shell.pid());
    let finished = observer.stop();
    let evidence = exit["cause"]["evidence"].to_string();
    let numbers = evidence.split(|letter: char| !letter.is_ascii_digit());
    let named: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    assert!(named.contains(&u64::from(child)), "{evidence} does not name the child, {child}");
    let event = evidence.split("event ").nth(1).and_then(|rest| rest.split(')').next());
    if let Some(seq) = event.and_then(|seq| seq.parse::<u64>().ok()) {
        let shown = finished.numbers.all.contains(&seq);
        assert!(!shown, "{evidence}: event {seq} is another one; {}", finished.events);
    }
}

fn two_observers() {
    let mut observers = [Observer::tail(&[]), Observer::tail(&["--all"])];
    let (workload, _) = run(["exit", "1"]);
    for observer in &mut observers {
        observer.exit_of(workload.pid());
    }
    for observer in observers {
        observer.stop().events.only_exit_of(workload.pid());
    }
}

/// One line with the counts of shown and lost events.
fn sigint_ends_with_a_summary() {
    let mut observer = Observer::tail(&[]);
    let (workload, _) = run(["exit", "1"]);
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    assert!(finished.status.success(), "{}", finished.status);
    let Events { all: events } = finished.events;
    assert!(events.len() >= 2);
    assert_eq!(finished.stderr.len(), 1, "{:?}", finished.stderr);
    let line = &finished.stderr[0];
    assert!(line.contains(|letter: char| letter.is_ascii_digit()), "{line:?} counts nothing");
    assert!(line.contains("lost"), "{line:?} says nothing of losses");
}

/// aya-log is for developers of the programs; standard output stays JSON.
fn ebpf_log_is_not_on_stdout() {
    let mut observer = Observer::tail(&["--ebpf-log", "debug"]);
    let (workload, _) = run(["raise", "15"]);
    observer.exit_of(workload.pid());
    observer.stop().events.only_exit_of(workload.pid());
}
