//! Each cause of death in the contract. Causes with a sender are in `senders`, OOM kills in `oom`.

use std::process::Command;

use observer_tests::{Observer, Workload, assert_has, binaries, expected_status, run};
use serde_json::{Value, json};

crate::tests![
    exit_code,
    exit_code_137_is_not_a_signal,
    abort,
    broken_pipe,
    cpu_and_file_size_limits,
    seccomp_strict_and_filters,
    alarm,
    fault_has_code_and_address,
    fault_without_an_address,
    fault_of_one_thread,
    fault_reraised_by_a_crash_handler,
    terminal_signals,
    a_core_file needs CoreFile,
    no_core_file needs CoreFile,
    shell_whose_child_was_killed,
    unrelated_sigkill_is_not_evidence,
    every_cause_has_evidence,
];

/// Runs a command line to its end and returns its `exit`. Checks its status against wait(2).
fn exit_of(words: &str) -> Value {
    let mut observer = Observer::tail(&["--all"]);
    let (workload, ended) = run(words.split(' '));
    observer.exit_of(workload.pid());
    let exit = observer.stop().events.only_exit_of(workload.pid()).clone();
    assert_has(&exit, &json!({ "status": expected_status(ended) }));
    exit
}

/// Nobody else is involved, so there is no sender.
fn assert_cause(words: &str, cause_type: &str) {
    let cause = json!({"type": cause_type, "sender": null, "prompted_by": null});
    assert_has(&exit_of(words), &json!({ "cause": cause }));
}

fn exit_code() {
    assert_cause("exit 3", "exit_code");
    assert_cause("exit 0", "exit_code");
    assert_cause("leader-first group", "exit_code");
}

/// A shell reports SIGKILL as 137, but any process may exit with 137.
fn exit_code_137_is_not_a_signal() {
    let exit = exit_of("exit 137");
    let status = json!({"code": 137, "shell_status": 137, "signal": null});
    assert_has(&exit, &json!({"status": status, "cause": {"type": "exit_code"}}));
}

fn abort() {
    assert_cause("abort", "abort");
}

fn broken_pipe() {
    assert_cause("pipe", "pipe");
}

fn cpu_and_file_size_limits() {
    assert_cause("cpu-limit soft", "resource_limit");
    assert_cause("cpu-limit hard", "resource_limit");
    assert_cause("file-limit", "resource_limit");
}

fn seccomp_strict_and_filters() {
    assert_cause("seccomp strict", "seccomp");
    assert_cause("seccomp process", "seccomp");
    assert_cause("seccomp thread", "seccomp");
}

fn alarm() {
    assert_cause("alarm 20", "kernel");
}

/// An address as a number, in either notation.
fn address(cause: &Value) -> Option<u64> {
    let address = &cause["address"];
    let hex = address.as_str().and_then(|text| text.strip_prefix("0x"));
    address.as_u64().or_else(|| u64::from_str_radix(hex?, 16).ok())
}

fn fault_has_code_and_address() {
    let mut table = vec![
        ("segv 0", "SEGV_MAPERR"),
        ("segv dead000", "SEGV_MAPERR"),
        ("segv readonly", "SEGV_ACCERR"),
        ("bus", "BUS_ADRERR"),
        ("ill", "ILL_ILLOPN"),
    ];
    if cfg!(target_arch = "x86_64") {
        table.push(("fpe", "FPE_INTDIV"));
    }
    for (words, code_name) in table {
        let mut observer = Observer::tail(&[]);
        let (mut workload, ended) = run(words.split(' '));
        let exit = observer.exit_of(workload.pid());
        let cause = json!({"type": "fault", "code_name": code_name, "sender": null});
        assert_has(&exit, &json!({"status": expected_status(ended), "cause": cause}));
        let reported = address(&exit["cause"]).expect("a fault has an address");
        if words.starts_with("segv") || words == "bus" {
            let announced = workload.value("address");
            let announced = u64::from_str_radix(&announced[2..], 16).expect("a number");
            assert_eq!(reported, announced, "{words}");
        } else {
            assert_ne!(reported, 0, "{words}: the address of the instruction");
        }
        observer.stop().events.only_exit_of(workload.pid());
    }
}

/// The processor gives no address for a non-canonical one or a breakpoint: reporting 0 would be wrong.
fn fault_without_an_address() {
    for words in ["segv 8000000000000000", "trap"] {
        if cfg!(target_arch = "x86_64") {
            let exit = exit_of(words);
            let cause = json!({"type": "fault", "code_name": "SI_KERNEL", "address": null});
            assert_has(&exit, &json!({ "cause": cause }));
        }
    }
}

fn fault_of_one_thread() {
    let cause = json!({"type": "fault", "code_name": "SEGV_MAPERR", "address": "0xdead0000"});
    let exit = exit_of("threads-fault 30");
    assert_has(&exit, &json!({"cause": cause, "process": {"comm": "workload"}}));
}

/// A crash handler catches the fault and raises the signal again: the cause is the fault, not the second signal.
fn fault_reraised_by_a_crash_handler() {
    let exit = exit_of("reraise");
    assert_has(&exit, &json!({"status": {"signal": libc::SIGSEGV}}));
    let evidence = exit["cause"].to_string();
    assert!(evidence.contains("0xdead0000"), "nothing of the fault itself in {:#}", exit["cause"]);
}

/// The kernel sends these, for a key or a hang-up.
fn terminal_signals() {
    for what in ["interrupt", "quit", "hangup"] {
        let mut observer = Observer::tail(&["--all"]);
        let (mut workload, _) = run(["terminal", what]);
        let child = workload.pid_of("child_pid");
        let exit = observer.exit_of(child);
        observer.stop();
        assert_has(&exit, &json!({"cause": {"type": "kernel", "sender": null}}));
    }
}

fn a_core_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder_name = folder.path().to_str().expect("UTF-8");
    for end in [&["segv", "0"][..], &["abort"], &["raise", "3"]] {
        let exit = {
            let mut observer = Observer::tail(&[]);
            let (workload, ended) = run(["with-core", folder_name].iter().chain(end));
            assert!(ended.to_string().contains("core dumped"), "{ended}");
            observer.exit_of(workload.pid());
            observer.stop().events.only_exit_of(workload.pid()).clone()
        };
        assert_has(&exit, &json!({"status": {"core_dumped": true}}));
        let cores = std::fs::read_dir(folder.path()).expect("the folder is there");
        let files = cores.map(|core| core.expect("an entry").path()).collect::<Vec<_>>();
        assert_eq!(files.len(), 1, "{end:?}: {files:?}");
        std::fs::remove_file(&files[0]).expect("the core file is ours");
    }
}

fn no_core_file() {
    assert_has(&exit_of("segv 0"), &json!({"status": {"core_dumped": false}}));
}

/// The 137 in a shell script's log was the death of its child.
fn shell_whose_child_was_killed() {
    let mut observer = Observer::tail(&[]);
    let mut shell = Workload::start(["shell"]);
    let child = shell.pid_of("child_pid");
    let (killer, _) = run(["send", "kill", "9", &child.to_string()]);
    shell.wait();
    observer.exit_of(shell.pid());
    let events = observer.stop().events;
    let childs = events.only_exit_of(child);
    assert_has(childs, &json!({"cause": {"type": "killed", "sender": {"pid": killer.pid()}}}));
    let shells = events.only_exit_of(shell.pid());
    let status = json!({"code": 137, "signal": null});
    assert_has(shells, &json!({"status": status, "cause": {"type": "exit_code"}}));
    assert_names_process(&shells["cause"], childs);
}

/// Asserts that the evidence of `cause` names the process of `event`. The `seq` may differ between streams.
fn assert_names_process(cause: &Value, event: &Value) {
    let evidence = cause["evidence"].to_string();
    let pid = event["process"]["pid"].to_string();
    let mut words = evidence.split(|letter: char| !letter.is_ascii_digit());
    assert!(words.any(|word| word == pid), "{evidence} does not name {pid} of {event}");
}

/// A SIGKILL of an unrelated process is no evidence for an exit with 137.
fn unrelated_sigkill_is_not_evidence() {
    let mut observer = Observer::tail(&[]);
    let mut stranger = Workload::start_ready(["wait"]);
    stranger.signal(libc::SIGKILL);
    stranger.wait();
    observer.exit_of(stranger.pid());
    let (workload, _) = run(["exit", "137"]);
    observer.exit_of(workload.pid());
    let events = observer.stop().events;
    let evidence = events.only_exit_of(workload.pid())["cause"]["evidence"].to_string();
    let stranger = stranger.pid().to_string();
    let mut words = evidence.split(|letter: char| !letter.is_ascii_digit());
    assert!(!words.any(|word| word == stranger), "{evidence} names a stranger, {stranger}");
}

/// No cause without evidence, summary and confidence.
fn every_cause_has_evidence() {
    let command_lines = ["exit 3", "raise 15", "segv 0", "abort", "pipe", "seccomp strict"];
    let mut observer = Observer::tail(&[]);
    for words in command_lines {
        let (workload, _) = run(words.split(' '));
        let exit = observer.exit_of(workload.pid());
        let cause = &exit["cause"];
        let summary = cause["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty(), "{words}: {cause}");
        let evidence = cause["evidence"].as_array().map_or(0, Vec::len);
        assert!(evidence > 0, "{words}: {cause}");
        assert!(!cause["confidence"].is_null(), "{words}: {cause}");
    }
    observer.stop();
    // A copy under another name has another `comm` and the same cause.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("another");
    std::fs::copy(binaries::workload(), &copy).expect("room for a copy");
    let mut observer = Observer::tail(&[]);
    let mut command = Command::new(&copy);
    command.arg("abort");
    let mut workload = Workload::from(command);
    workload.wait();
    let exit = observer.exit_of(workload.pid());
    assert_has(&exit, &json!({"process": {"comm": "another"}, "cause": {"type": "abort"}}));
    observer.stop();
}
