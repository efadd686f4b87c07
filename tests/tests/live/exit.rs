//! Exactly one `exit` for each process, when its last thread ends, with the status of wait(2).

use observer_tests::{Observer, Workload, assert_has, expected_status, patience, run};
use serde_json::json;

crate::tests![
    status_matches_wait,
    leader_exits_first,
    leader_exits_first_and_the_rest_is_killed,
    forty_threads_exit_at_once,
    earlier_stop_is_not_in_the_status,
    worker_thread_ends_the_process,
    exec_from_a_thread_is_not_an_exit,
    two_millisecond_process,
    vfork_children,
    exit_is_reported_before_the_zombie_is_reaped,
    reused_pid_is_another_process,
    process_started_before_the_observer,
];

/// Runs each command line to its end and checks its only `exit` against wait(2).
fn one_exit_each(command_lines: &[&str]) {
    let mut observer = Observer::tail(&["--all"]);
    let ends: Vec<_> = command_lines.iter().map(|words| (words, run(words.split(' ')))).collect();
    for (_, (workload, _)) in &ends {
        observer.exit_of(workload.pid());
    }
    let finished = observer.stop();
    for (words, (workload, ended)) in &ends {
        let exit = finished.events.only_exit_of(workload.pid());
        // Before Linux 6.16 the second program runs when the arguments are gone; a slow machine sometimes depends on
        // it.
        let late = patience::slow_machine() && exit["process"]["missing"]["args"].is_string();
        let command = words.split(' ').next().expect("a command");
        assert!(late || exit["process"]["args"][1] == command, "{exit:#}");
        // The comm of the process, whichever thread exited last.
        let process = json!({ "comm": "workload" });
        assert_has(exit, &json!({"status": expected_status(*ended), "process": process}));
    }
}

fn status_matches_wait() {
    one_exit_each(&[
        "exit 0",
        "exit 1",
        "exit 127",
        "exit 137",
        "exit 255",
        "raise 1",
        "raise 2",
        "raise 3",
        "raise 9",
        "raise 10",
        "raise 15",
        "abort",
        "pipe",
        "segv 0",
        "bus",
        "ill",
        "trap",
        "file-limit",
        "seccomp strict",
        "seccomp process",
        "alarm 10",
    ]);
}

/// The leader exits with 3, the process later with 7. When all threads exit one by one, the kernel chooses the code:
/// wait(2) decides.
fn leader_exits_first() {
    one_exit_each(&["leader-first group", "leader-first last"].repeat(5));
    one_exit_each(&["leader-first group 0", "leader-first last 0"].repeat(5));
}

fn leader_exits_first_and_the_rest_is_killed() {
    let mut observer = Observer::tail(&[]);
    let mut workload = Workload::start_ready(["leader-first", "wait"]);
    workload.signal(libc::SIGKILL);
    let ended = workload.wait();
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    let exit = finished.events.only_exit_of(workload.pid());
    assert_has(exit, &json!({ "status": expected_status(ended) }));
}

fn forty_threads_exit_at_once() {
    one_exit_each(&["threads 40 9"; 25]);
}

/// The kernel keeps an earlier stop beside the exit code: it must not show up in the status.
fn earlier_stop_is_not_in_the_status() {
    let mut observer = Observer::tail(&["--all"]);
    let ends = ["0", "12"].map(|code| {
        let mut workload = Workload::start_ready(["handle-term", code]);
        workload.pause();
        workload.signal(libc::SIGTERM);
        let ended = workload.wait();
        assert!(ended.code().is_some(), "{ended}");
        (workload, ended)
    });
    for (workload, _) in &ends {
        observer.exit_of(workload.pid());
    }
    let finished = observer.stop();
    for (workload, ended) in &ends {
        let exit = finished.events.only_exit_of(workload.pid());
        assert_has(exit, &json!({ "status": expected_status(*ended) }));
    }
}

fn worker_thread_ends_the_process() {
    one_exit_each(&["worker-exits 5"; 10]);
}

/// The kernel ends the old leader; the process continues under its pid as another program.
fn exec_from_a_thread_is_not_an_exit() {
    let mut observer = Observer::tail(&["--all"]);
    let mut workload = Workload::start_ready(["exec-from-thread", "wait"]);
    // Events of the exec come before the exit of a process that was started later.
    let (marker, _) = run(["exit", "1"]);
    observer.exit_of(marker.pid());
    let events = observer.so_far();
    assert_eq!(events.exits_of(workload.pid()).count(), 0, "it lives; {events}");
    workload.signal(libc::SIGTERM);
    let ended = workload.wait();
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    let exit = finished.events.only_exit_of(workload.pid());
    assert_has(exit, &json!({ "status": expected_status(ended) }));
    assert_eq!(exit["process"]["args"][1], "wait", "it died as what it had become");
}

/// Gone before anybody could read its /proc, and still reported in full.
fn two_millisecond_process() {
    one_exit_each(&["exit 3 2"; 20]);
}

fn vfork_children() {
    let mut observer = Observer::tail(&["--all"]);
    let (mut parent, _) = run(["vfork", "25", "5"]);
    observer.exit_of(parent.pid());
    let finished = observer.stop();
    let children = parent.all_pids("child_pid");
    assert_eq!(children.len(), 25);
    for child in children {
        let exit = finished.events.only_exit_of(child);
        assert_has(exit, &json!({"status": {"code": 5}, "process": {"ppid": parent.pid()}}));
    }
}

fn exit_is_reported_before_the_zombie_is_reaped() {
    let mut observer = Observer::tail(&[]);
    let mut parent = Workload::start_ready(["unreaped", "exit", "4"]);
    let child = parent.pid_of("child_pid");
    let exit = observer.exit_of(child);
    assert_has(&exit, &json!({"status": {"code": 4}, "process": {"ppid": parent.pid()}}));
    parent.signal(libc::SIGKILL);
    parent.wait();
    observer.exit_of(parent.pid());
    let finished = observer.stop();
    finished.events.only_exit_of(child);
}

/// (`pid`, `start_time`) identifies a process, the pid alone does not.
fn reused_pid_is_another_process() {
    let mut observer = Observer::tail(&[]);
    let (mut parent, _) = run(["same-pid", "1", "2", "3"]);
    let pid = parent.pid_of("child_pid");
    let all = |events: &observer_tests::Events| (events.exits_of(pid).count() == 3).then_some(());
    observer.wait_until("the third exit of one pid", all);
    let finished = observer.stop();
    let exits: Vec<_> = finished.events.exits_of(pid).collect();
    let codes: Vec<_> = exits.iter().map(|exit| &exit["status"]["code"]).collect();
    assert_eq!(codes, [1, 2, 3]);
    let starts = exits.iter().map(|exit| exit["process"]["start_time"].as_str());
    let starts: Vec<_> = starts.map(|start| start.expect("a start time")).collect();
    assert!(starts[0] < starts[1] && starts[1] < starts[2], "{starts:?}");
}

fn process_started_before_the_observer() {
    let mut workload = Workload::start_ready(["wait"]);
    let mut observer = Observer::tail(&[]);
    workload.signal(libc::SIGTERM);
    let ended = workload.wait();
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    let exit = finished.events.only_exit_of(workload.pid());
    assert_has(exit, &json!({ "status": expected_status(ended) }));
}
