//! `observer tail --json`: which events come, and how it begins and ends.

use observer_tests::{Cgroup, Observer, Story, Workload, run};

crate::tests![
    begins_with_a_session,
    limits_are_as_they_were,
    ordinary_exits_only_when_asked_for,
    kinds,
    names,
    pids,
    users,
    units needs CgroupV2,
    containers needs CgroupV2,
    filters_narrow_each_other,
    seq_grows_by_one,
    what_is_left_out_is_not_referred_to,
    two_at_a_time,
    interrupt_is_an_ordinary_end,
    messages_of_the_programs_touch_no_event,
];

fn begins_with_a_session() {
    let observer = Observer::tail(&[]);
    let story = observer.stop().story;
    let first = &story.events[0];
    assert_eq!(first["kind"], "session");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a kernel");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a kernel");
    assert!(first["kernel"].to_string().contains(release.trim()), "{first:#}");
    assert_eq!(first["boot_id"], boot_id.trim());
    assert_eq!(first["host"], host.trim());
    assert!(!first["version"].is_null() && !first["hooks"].is_null(), "{first:#}");
    assert!(!first["clock"].is_null(), "{first:#}");
    assert_eq!(story.of_kind("session").count(), 1);
}

/// No file can be opened for a moment while the programs are loaded.
fn limits_are_as_they_were() {
    let files = |pid: &str| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("readable");
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        line.expect("a limit").to_owned()
    };
    let observer = Observer::tail(&[]);
    assert_eq!(files(&observer.pid().to_string()), files("self"));
    observer.stop();
}

/// Lets one process end that is not asked for, then one that is, and tells which were told.
fn only_the_second(flags: &[&str], unwanted: &[&str], wanted: &[&str]) {
    let mut observer = Observer::tail(flags);
    let (silent, _) = run(unwanted);
    let (told, _) = run(wanted);
    observer.exit_of(told.pid());
    let story = observer.stop().story;
    story.only_exit_of(told.pid());
    assert_eq!(story.exits_of(silent.pid()).count(), 0, "{flags:?}; {story}");
}

fn ordinary_exits_only_when_asked_for() {
    only_the_second(&[], &["exit", "0"], &["exit", "1"]);
    let mut observer = Observer::tail(&["--all"]);
    let (ordinary, _) = run(["exit", "0"]);
    let exit = observer.exit_of(ordinary.pid());
    observer.stop();
    assert_eq!(exit["status"]["code"], 0);
}

fn kinds() {
    let mut observer = Observer::tail(&["--kind", "exit"]);
    let (workload, _) = run(["exit", "1"]);
    observer.exit_of(workload.pid());
    observer.stop();
    let mut observer = Observer::tail(&["--kind", "exit,oom"]);
    let (workload, _) = run(["exit", "1"]);
    observer.exit_of(workload.pid());
    observer.stop();
}

fn names() {
    only_the_second(&["--comm", "wanted"], &["exit", "1"], &["named", "wanted", "exit", "1"]);
}

fn pids() {
    let mut silent = Workload::start_ready(["wait"]);
    let mut told = Workload::start_ready(["wait"]);
    let mut observer = Observer::tail(&["--pid", &told.pid().to_string()]);
    for workload in [&mut silent, &mut told] {
        workload.signal(libc::SIGTERM);
        workload.wait();
    }
    observer.exit_of(told.pid());
    let story = observer.stop().story;
    assert_eq!(story.exits_of(silent.pid()).count(), 0, "{story}");
}

fn users() {
    let wanted = ["as-user", "12345", "exit", "1"];
    only_the_second(&["--user", "12345"], &["exit", "1"], &wanted);
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if known.lines().any(|line| line.starts_with("root:")) {
        only_the_second(&["--user", "root"], &wanted, &["exit", "1"]);
    } else {
        only_the_second(&["--user", "0"], &wanted, &["exit", "1"]);
    }
}

fn units() {
    let group = Cgroup::v2("hello.service");
    let wanted = ["in-cgroup", group.arg(), "exit", "1"];
    only_the_second(&["--unit", &group.path[1..]], &["exit", "1"], &wanted);
}

fn containers() {
    let group = Cgroup::v2("containers");
    let container = group.child(&format!("docker-{}.scope", "fedcba9876543210".repeat(4)));
    let wanted = ["in-cgroup", container.arg(), "exit", "1"];
    only_the_second(&["--container", "fedcba987654"], &["exit", "1"], &wanted);
}

fn filters_narrow_each_other() {
    let flags = ["--user", "12345", "--comm", "wanted"];
    let wanted = ["as-user", "12345", "named", "wanted", "exit", "1"];
    only_the_second(&flags, &["as-user", "12345", "exit", "1"], &wanted);
    only_the_second(&flags, &["named", "wanted", "exit", "1"], &wanted);
}

/// Over all events, of whomever.
fn seq_grows_by_one() {
    let mut observer = Observer::tail(&["--all"]);
    let (storm, _) = run(["storm", "300", "2"]);
    observer.exit_of(storm.pid());
    let numbers = observer.stop().numbers;
    assert!(numbers.all.len() > 300, "{}", numbers.all.len());
    numbers.assert_unbroken();
}

/// Evidence may name an event by its `seq`: then that event is it, or is not shown, but never
/// another one.
fn what_is_left_out_is_not_referred_to() {
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
        assert!(!shown, "{evidence}: event {seq} is another one; {}", finished.story);
    }
}

fn two_at_a_time() {
    let mut observers = [Observer::tail(&[]), Observer::tail(&["--all"])];
    let (workload, _) = run(["exit", "1"]);
    for observer in &mut observers {
        observer.exit_of(workload.pid());
    }
    for observer in observers {
        observer.stop().story.only_exit_of(workload.pid());
    }
}

/// The count of all that was told, and of all that was lost: one line.
fn interrupt_is_an_ordinary_end() {
    let mut observer = Observer::tail(&[]);
    let (workload, _) = run(["exit", "1"]);
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    assert!(finished.status.success(), "{}", finished.status);
    let Story { events } = finished.story;
    assert!(events.len() >= 2);
    assert_eq!(finished.stderr.len(), 1, "{:?}", finished.stderr);
    let line = &finished.stderr[0];
    assert!(line.contains(|letter: char| letter.is_ascii_digit()), "{line:?} counts nothing");
    assert!(line.contains("lost"), "{line:?} says nothing of losses");
}

/// aya-log is for whoever works on the programs; standard output stays data.
fn messages_of_the_programs_touch_no_event() {
    let mut observer = Observer::tail(&["--ebpf-log", "debug"]);
    let (workload, _) = run(["raise", "15"]);
    observer.exit_of(workload.pid());
    observer.stop().story.only_exit_of(workload.pid());
}
