//! Why a process died, each cause of the contract made to happen. Causes in which somebody else
//! had a hand are in `senders`, those of the memory in `oom`.

use std::process::Command;

use observer_tests::{Observer, Workload, assert_has, binaries, expected_status, run};
use serde_json::{Value, json};

crate::tests![
    exit_code,
    exit_code_137_is_no_signal,
    abort,
    broken_pipe,
    limits_on_cpu_and_files,
    seccomp_strict_and_filters,
    own_timer,
    faults_have_code_and_address,
    fault_without_an_address,
    fault_of_one_thread_among_many,
    fault_that_a_crash_reporter_sent_again,
    keys_and_hang_ups_of_a_terminal,
    a_core_file needs CoreFile,
    no_core_file needs CoreFile,
    shell_whose_child_was_killed,
    shell_whose_child_was_killed_long_before,
    every_cause_has_its_evidence,
];

/// Runs a command line to its end and gives its `exit`, its status being that of wait(2).
fn exit_of(words: &str) -> Value {
    let mut observer = Observer::tail(&["--all"]);
    let (workload, ended) = run(words.split(' '));
    observer.exit_of(workload.pid());
    let exit = observer.stop().story.only_exit_of(workload.pid()).clone();
    assert_has(&exit, &json!({ "status": expected_status(ended) }));
    exit
}

/// One that was killed by nobody but itself or the kernel names no sender.
fn assert_cause(words: &str, cause_type: &str) {
    let cause = json!({"type": cause_type, "sender": null, "prompted_by": null});
    assert_has(&exit_of(words), &json!({ "cause": cause }));
}

fn exit_code() {
    assert_cause("exit 3", "exit_code");
    assert_cause("exit 0", "exit_code");
    assert_cause("leader-first group", "exit_code");
}

/// 137 is what a shell makes of SIGKILL, but anybody may exit with it.
fn exit_code_137_is_no_signal() {
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

fn limits_on_cpu_and_files() {
    assert_cause("cpu-limit soft", "resource_limit");
    assert_cause("cpu-limit hard", "resource_limit");
    assert_cause("file-limit", "resource_limit");
}

fn seccomp_strict_and_filters() {
    assert_cause("seccomp strict", "seccomp");
    assert_cause("seccomp process", "seccomp");
    assert_cause("seccomp thread", "seccomp");
}

fn own_timer() {
    assert_cause("alarm 20", "kernel");
}

/// An address as a number, however it is written.
fn address(cause: &Value) -> Option<u64> {
    let address = &cause["address"];
    let hex = address.as_str().and_then(|text| text.strip_prefix("0x"));
    address.as_u64().or_else(|| u64::from_str_radix(hex?, 16).ok())
}

fn faults_have_code_and_address() {
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
        let told = address(&exit["cause"]).expect("a fault has an address");
        if words.starts_with("segv") || words == "bus" {
            let announced = workload.value("address");
            let announced = u64::from_str_radix(&announced[2..], 16).expect("a number");
            assert_eq!(told, announced, "{words}");
        } else {
            assert_ne!(told, 0, "{words}: the address of the instruction");
        }
        observer.stop().story.only_exit_of(workload.pid());
    }
}

/// The processor says no address for one that is not canonical, and none for a breakpoint: an
/// address of 0 would be made up.
fn fault_without_an_address() {
    for words in ["segv 8000000000000000", "trap"] {
        if cfg!(target_arch = "x86_64") {
            let exit = exit_of(words);
            let cause = json!({"type": "fault", "code_name": "SI_KERNEL", "address": null});
            assert_has(&exit, &json!({ "cause": cause }));
        }
    }
}

fn fault_of_one_thread_among_many() {
    let cause = json!({"type": "fault", "code_name": "SEGV_MAPERR", "address": "0xdead0000"});
    let exit = exit_of("threads-fault 30");
    assert_has(&exit, &json!({"cause": cause, "process": {"comm": "workload"}}));
}

/// It caught the fault, wrote its report, and sent itself the signal that it had caught: what
/// ended it is the fault, wherever the last signal came from.
fn fault_that_a_crash_reporter_sent_again() {
    let exit = exit_of("reraise");
    assert_has(&exit, &json!({"status": {"signal": libc::SIGSEGV}}));
    let evidence = exit["cause"].to_string();
    assert!(evidence.contains("0xdead0000"), "nothing of the fault itself in {:#}", exit["cause"]);
}

/// Nobody sent these: the kernel did, for a key or for a terminal that is gone.
fn keys_and_hang_ups_of_a_terminal() {
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
            observer.stop().story.only_exit_of(workload.pid()).clone()
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

/// What a shell script's log shows as 137 was the death of another process.
fn shell_whose_child_was_killed() {
    let mut observer = Observer::tail(&[]);
    let mut shell = Workload::start(["shell"]);
    let child = shell.pid_of("child_pid");
    let (killer, _) = run(["send", "kill", "9", &child.to_string()]);
    shell.wait();
    observer.exit_of(shell.pid());
    let story = observer.stop().story;
    let childs = story.only_exit_of(child);
    assert_has(childs, &json!({"cause": {"type": "killed", "sender": {"pid": killer.pid()}}}));
    let shells = story.only_exit_of(shell.pid());
    let status = json!({"code": 137, "signal": null});
    assert_has(shells, &json!({"status": status, "cause": {"type": "exit_code"}}));
    assert_names_process(&shells["cause"], childs);
}

/// The evidence of `cause` names the process that `event` is about; numbers of events differ from stream to stream.
fn assert_names_process(cause: &Value, event: &Value) {
    let evidence = cause["evidence"].to_string();
    let pid = event["process"]["pid"].to_string();
    let mut words = evidence.split(|letter: char| !letter.is_ascii_digit());
    assert!(words.any(|word| word == pid), "{evidence} does not name {pid} of {event}");
}

/// Evidence that fits by number only is none: nobody killed this one's children.
fn shell_whose_child_was_killed_long_before() {
    let mut observer = Observer::tail(&[]);
    let mut stranger = Workload::start_ready(["wait"]);
    stranger.signal(libc::SIGKILL);
    stranger.wait();
    observer.exit_of(stranger.pid());
    let (workload, _) = run(["exit", "137"]);
    observer.exit_of(workload.pid());
    let story = observer.stop().story;
    let evidence = story.only_exit_of(workload.pid())["cause"]["evidence"].to_string();
    let stranger = stranger.pid().to_string();
    let mut words = evidence.split(|letter: char| !letter.is_ascii_digit());
    assert!(!words.any(|word| word == stranger), "{evidence} names a stranger, {stranger}");
}

/// A cause is never stated without what it rests on.
fn every_cause_has_its_evidence() {
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
    // A copy under another name has another `comm`, and ends in the same way.
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
