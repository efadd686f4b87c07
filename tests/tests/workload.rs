//! The ground truth: each workload ends as it promises, by wait(2) itself. No root, no observer.
//! What the live tests believe about their processes is proven here first.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::os::unix::process::ExitStatusExt;

use observer_tests::{Workload, run};

/// Exit code, or the negative signal.
fn end_of(words: &str) -> i32 {
    let (_workload, ended) = run(words.split(' '));
    match (ended.code(), ended.signal()) {
        (Some(code), None) => code,
        (None, Some(signal)) => -signal,
        _ => panic!("{words}: {ended}"),
    }
}

#[test]
fn each_command_ends_as_promised() {
    let table = [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("exit 4 2", 4),
        ("exit 5 and words that nobody reads", 5),
        ("abort", -libc::SIGABRT),
        ("raise 15", -libc::SIGTERM),
        ("raise 9", -libc::SIGKILL),
        ("pipe", -libc::SIGPIPE),
        ("segv 0", -libc::SIGSEGV),
        ("segv dead000", -libc::SIGSEGV),
        ("segv readonly", -libc::SIGSEGV),
        ("reraise", -libc::SIGSEGV),
        ("threads-fault 10", -libc::SIGSEGV),
        ("bus", -libc::SIGBUS),
        ("ill", -libc::SIGILL),
        ("trap", -libc::SIGTRAP),
        ("cpu-limit soft", -libc::SIGXCPU),
        ("cpu-limit hard", -libc::SIGKILL),
        ("file-limit", -libc::SIGXFSZ),
        ("seccomp strict", -libc::SIGKILL),
        ("seccomp process", -libc::SIGSYS),
        ("seccomp thread", -libc::SIGSYS),
        ("alarm 20", -libc::SIGALRM),
        ("threads 40 9", 9),
        ("worker-exits 6", 6),
        ("leader-first group", 7),
        ("exec-from-thread exit 8", 8),
        ("peak 8 4", 4),
        ("named other exit 11", 11),
        ("terminal interrupt", 130),
        ("terminal quit", 131),
        ("terminal hangup", 129),
        ("no-such-command", 99),
        ("exit none", 99),
    ];
    let wrong = table.into_iter().filter(|(words, promised)| end_of(words) != *promised);
    assert_eq!(wrong.collect::<Vec<_>>(), []);
}

/// A CPU that does not trap on a division by zero has no such fault.
#[test]
#[cfg(target_arch = "x86_64")]
fn division_by_zero_and_non_canonical_address() {
    assert_eq!(end_of("fpe"), -libc::SIGFPE);
    assert_eq!(end_of("segv 8000000000000000"), -libc::SIGSEGV);
}

/// The kernel took the leader's code before 6.1, and takes the last thread's since.
#[test]
fn code_of_a_process_whose_threads_exit_one_by_one() {
    let code = end_of("leader-first last");
    assert!([3, 7].contains(&code), "{code}");
}

#[test]
fn fault_announces_its_address() {
    for words in ["segv dead000", "segv readonly", "bus"] {
        let (mut workload, _) = run(words.split(' '));
        let address = workload.value("address");
        let digits = address.strip_prefix("0x").expect("hexadecimal");
        let number = u64::from_str_radix(digits, 16).expect("a number");
        assert!(number >= 4096, "{words}: {address}");
    }
}

#[test]
fn wait_ends_by_sigterm() {
    let mut workload = Workload::start_ready(["wait"]);
    workload.signal(libc::SIGTERM);
    assert_eq!(workload.wait().signal(), Some(libc::SIGTERM));
}

#[test]
fn handled_sigterm_ends_with_a_code() {
    let mut workload = Workload::start_ready(["handle-term", "12", "5"]);
    workload.signal(libc::SIGTERM);
    assert_eq!(workload.wait().code(), Some(12));
}

#[test]
fn ignored_sigterm_needs_sigkill() {
    for how in ["ignored", "blocked"] {
        let mut workload = Workload::start_ready(["ignore-term", how]);
        workload.signal(libc::SIGTERM);
        workload.signal(libc::SIGKILL);
        assert_eq!(workload.wait().signal(), Some(libc::SIGKILL), "{how}");
    }
}

#[test]
fn each_way_to_send_a_signal() {
    for method in ["kill", "group", "tgkill", "sigqueue", "pidfd"] {
        let mut target = Workload::start_ready(["own-group", "wait"]);
        let (_sender, sent) = run(["send", method, "15", &target.pid().to_string()]);
        assert_eq!(sent.code(), Some(0), "{method}");
        assert_eq!(target.wait().signal(), Some(libc::SIGTERM), "{method}");
    }
}

#[test]
fn shell_exits_with_128_plus_signal() {
    let mut shell = Workload::start(["shell"]);
    let child = shell.pid_of("child_pid").to_string();
    let (_sender, _) = run(["send", "kill", "9", &child]);
    assert_eq!(shell.wait().code(), Some(137));
}

#[test]
fn storm_counts_reaped_children() {
    let (mut storm, ended) = run(["storm", "150", "1", "pids"]);
    assert_eq!(ended.code(), Some(0));
    assert_eq!(storm.number("total"), 150);
    assert_eq!(storm.all_pids("child_pid").len(), 150);
    let (mut killed, _) = run(["storm-killed", "120"]);
    assert_eq!(killed.number("total"), 120);
    let (mut borrowed, _) = run(["vfork", "3", "5"]);
    assert_eq!(borrowed.all_pids("child_pid").len(), 3);
}

#[test]
fn process_without_its_leader_can_be_killed() {
    let mut workload = Workload::start_ready(["leader-first", "wait"]);
    workload.signal(libc::SIGKILL);
    assert_eq!(workload.wait().signal(), Some(libc::SIGKILL));
}

#[test]
fn held_port_is_refused() {
    let mut holder = Workload::start_ready(["hold", "tcp", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", holder.number("port"));
    let (mut refused, ended) = run(["bind", "3", "tcp", &address]);
    assert_eq!(ended.code(), Some(0));
    assert_eq!(refused.value("call"), "bind");
    assert_eq!(refused.value("errno"), libc::EADDRINUSE.to_string());
    assert_eq!(refused.number("refused"), 3);
    let (_allowed, ended) = run(["bind", "1", "udp", &address]);
    assert_eq!(ended.code(), Some(1), "another protocol is another port");
}

#[test]
fn listen_refused_after_a_successful_bind() {
    for whom in ["self", "other"] {
        let words = ["listen-fails", whom, "tcp", "127.0.0.1:0", "reuseaddr"];
        let mut workload = Workload::start_ready(words);
        assert_eq!(workload.value("call"), "listen", "{whom}");
        assert_eq!(workload.value("errno"), libc::EADDRINUSE.to_string(), "{whom}");
    }
}

#[test]
fn port_without_a_holder() {
    let (mut gone, ended) = run(["time-wait", "127.0.0.1:0"]);
    assert_eq!(ended.code(), Some(0));
    let mut half_gone = Workload::start_ready(["half-closed", "127.0.0.1:0"]);
    for port in [gone.number("port"), half_gone.number("port")] {
        let (mut refused, _) = run(["bind", "1", "tcp", &format!("127.0.0.1:{port}")]);
        assert_eq!(refused.value("errno"), libc::EADDRINUSE.to_string());
    }
}

#[test]
fn stale_socket_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").display().to_string();
    let (_gone, ended) = run(["stale", &path]);
    assert_eq!(ended.code(), Some(0));
    let (mut refused, _) = run(["bind", "1", "unix", &path]);
    assert_eq!(refused.value("errno"), libc::EADDRINUSE.to_string());
}

#[test]
fn orphan_and_sharer_keep_the_port() {
    let (mut parent, _) = run(["orphan", "tcp", "127.0.0.1:0"]);
    parent.pid_of("child_pid");
    let mut sharer = Workload::start_ready(["sharers", "tcp", "127.0.0.1:0"]);
    sharer.signal(libc::SIGKILL);
    sharer.wait();
    for port in [parent.number("port"), sharer.number("port")] {
        let (mut refused, _) = run(["bind", "1", "tcp", &format!("127.0.0.1:{port}")]);
        assert_eq!(refused.value("errno"), libc::EADDRINUSE.to_string());
    }
}

#[test]
fn crowd_serves() {
    let mut crowd = Workload::start_ready(["in-netns", "crowd", "3", "2"]);
    assert_ne!(crowd.pid_of("last_pid"), crowd.pid());
    assert_eq!(observer_tests::sys::children(crowd.pid()).len(), 3);
}

#[test]
fn load_ends_by_itself_or_by_sigterm() {
    let (mut alone, ended) = run(["load", "1"]);
    assert_eq!(ended.code(), Some(0));
    let mut stopped = Workload::start_ready(["load", "600"]);
    stopped.signal(libc::SIGTERM);
    assert_eq!(stopped.wait().code(), Some(0));
    for key in ["forks", "refusals"] {
        assert!(alone.number(key) > 0, "{key}");
        stopped.number(key);
    }
}
