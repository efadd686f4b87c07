//! Exactly one `exit` for each process, when its last thread ends, with wait(2)'s own status.

use observer_tests::{Observer, Workload, assert_has, expected_status, patience, run};
use serde_json::json;

crate::tests![
    status_is_that_of_wait,
    leader_left_first,
    leader_left_first_and_the_rest_was_killed,
    forty_threads_leave_at_once,
    stopped_before,
    worker_ends_the_process,
    exec_from_a_thread_is_no_death,
    process_of_two_milliseconds,
    children_on_their_parents_memory,
    death_is_told_before_anybody_reaps,
    one_pid_twice,
    process_older_than_the_observer,
];

/// Runs each command line to its end, and holds its one `exit` to the status that wait(2) gave.
fn one_exit_each(command_lines: &[&str]) {
    let mut observer = Observer::tail(&["--all"]);
    let ends: Vec<_> = command_lines.iter().map(|words| (words, run(words.split(' ')))).collect();
    for (_, (workload, _)) in &ends {
        observer.exit_of(workload.pid());
    }
    let finished = observer.stop();
    for (words, (workload, ended)) in &ends {
        let exit = finished.story.only_exit_of(workload.pid());
        // Before Linux 6.16 the second program runs when the arguments are gone; a slow machine needs it now and then.
        let late = patience::slow_machine() && exit["process"]["missing"]["args"].is_string();
        let command = words.split(' ').next().expect("a command");
        assert!(late || exit["process"]["args"][1] == command, "{exit:#}");
        // The process's own name, whichever thread was the last.
        let process = json!({ "comm": "workload" });
        assert_has(exit, &json!({"status": expected_status(*ended), "process": process}));
    }
}

fn status_is_that_of_wait() {
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

/// The code of the leader is 3, and the process ends later, with 7 (which of the two counts when
/// all leave one by one is the kernel's choice: wait(2) is the judge).
fn leader_left_first() {
    one_exit_each(&["leader-first group", "leader-first last"].repeat(5));
    one_exit_each(&["leader-first group 0", "leader-first last 0"].repeat(5));
}

fn leader_left_first_and_the_rest_was_killed() {
    let mut observer = Observer::tail(&[]);
    let mut workload = Workload::start_ready(["leader-first", "wait"]);
    workload.signal(libc::SIGKILL);
    let ended = workload.wait();
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    let exit = finished.story.only_exit_of(workload.pid());
    assert_has(exit, &json!({ "status": expected_status(ended) }));
}

fn forty_threads_leave_at_once() {
    one_exit_each(&["threads 40 9"; 25]);
}

/// What stopped it once is kept beside its exit code until somebody asks, and is not how it ended.
fn stopped_before() {
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
        let exit = finished.story.only_exit_of(workload.pid());
        assert_has(exit, &json!({ "status": expected_status(*ended) }));
    }
}

fn worker_ends_the_process() {
    one_exit_each(&["worker-exits 5"; 10]);
}

/// The old leader is ended by the kernel, the process lives on under its pid as another program.
fn exec_from_a_thread_is_no_death() {
    let mut observer = Observer::tail(&["--all"]);
    let mut workload = Workload::start_ready(["exec-from-thread", "wait"]);
    // Whatever the exec caused comes before the death of a process that was started after it.
    let (marker, _) = run(["exit", "1"]);
    observer.exit_of(marker.pid());
    let story = observer.so_far();
    assert_eq!(story.exits_of(workload.pid()).count(), 0, "it lives; {story}");
    workload.signal(libc::SIGTERM);
    let ended = workload.wait();
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    let exit = finished.story.only_exit_of(workload.pid());
    assert_has(exit, &json!({ "status": expected_status(ended) }));
    assert_eq!(exit["process"]["args"][1], "wait", "it died as what it had become");
}

/// Gone before anybody could look into /proc, and still told in full.
fn process_of_two_milliseconds() {
    one_exit_each(&["exit 3 2"; 20]);
}

fn children_on_their_parents_memory() {
    let mut observer = Observer::tail(&["--all"]);
    let (mut parent, _) = run(["vfork", "25", "5"]);
    observer.exit_of(parent.pid());
    let finished = observer.stop();
    let children = parent.all_pids("child_pid");
    assert_eq!(children.len(), 25);
    for child in children {
        let exit = finished.story.only_exit_of(child);
        assert_has(exit, &json!({"status": {"code": 5}, "process": {"ppid": parent.pid()}}));
    }
}

fn death_is_told_before_anybody_reaps() {
    let mut observer = Observer::tail(&[]);
    let mut parent = Workload::start_ready(["unreaped", "exit", "4"]);
    let child = parent.pid_of("child_pid");
    let exit = observer.exit_of(child);
    assert_has(&exit, &json!({"status": {"code": 4}, "process": {"ppid": parent.pid()}}));
    parent.signal(libc::SIGKILL);
    parent.wait();
    observer.exit_of(parent.pid());
    let finished = observer.stop();
    finished.story.only_exit_of(child);
}

/// (`pid`, `start_time`) names a process for good, the pid alone does not.
fn one_pid_twice() {
    let mut observer = Observer::tail(&[]);
    let (mut parent, _) = run(["same-pid", "1", "2", "3"]);
    let pid = parent.pid_of("child_pid");
    let all = |story: &observer_tests::Story| (story.exits_of(pid).count() == 3).then_some(());
    observer.wait_until("the third exit of one pid", all);
    let finished = observer.stop();
    let exits: Vec<_> = finished.story.exits_of(pid).collect();
    let codes: Vec<_> = exits.iter().map(|exit| &exit["status"]["code"]).collect();
    assert_eq!(codes, [1, 2, 3]);
    let starts = exits.iter().map(|exit| exit["process"]["start_time"].as_str());
    let starts: Vec<_> = starts.map(|start| start.expect("a start time")).collect();
    assert!(starts[0] < starts[1] && starts[1] < starts[2], "{starts:?}");
}

fn process_older_than_the_observer() {
    let mut workload = Workload::start_ready(["wait"]);
    let mut observer = Observer::tail(&[]);
    workload.signal(libc::SIGTERM);
    let ended = workload.wait();
    observer.exit_of(workload.pid());
    let finished = observer.stop();
    let exit = finished.story.only_exit_of(workload.pid());
    assert_has(exit, &json!({ "status": expected_status(ended) }));
}
