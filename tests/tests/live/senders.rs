//! Deaths by a signal of another process: the sender, and the SIGTERM before.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use observer_tests::{Cgroup, Observer, Workload, assert_has, binaries, run};
use serde_json::{Value, json};

crate::tests![
    sender_of_each_system_call,
    a_whole_process_group,
    a_whole_cgroup needs CgroupKill,
    sender_started_before_the_observer,
    sender_of_another_user,
    signal_to_itself,
    sent_sigsegv_is_not_a_fault,
    sigterm_then_exit_3,
    sigterm_then_exit_0,
    sigterm_then_sigkill,
    parent_death_signal,
    sender_in_a_pid_namespace,
    end_of_a_pid_namespace,
    fake_oom_daemon_is_a_plain_sender,
    an_oom_daemon_in_a_mount_namespace_of_its_own,
];

/// Starts a waiting victim and a sender of `signal`, and returns the victim's `exit`, which must name the sender by
/// pid and start time.
fn killed_by(sender_words: &[&str], victim_words: &[&str], signal: i32) -> Value {
    let mut observer = Observer::tail(&["--all"]);
    let mut victim = Workload::start_ready(victim_words);
    let signal_word = signal.to_string();
    let pid = victim.pid().to_string();
    let (sender, _) = run(sender_words.iter().chain(&[signal_word.as_str(), pid.as_str()]));
    victim.wait();
    observer.exit_of(victim.pid());
    observer.exit_of(sender.pid());
    let events = observer.stop().events;
    let exit = events.only_exit_of(victim.pid()).clone();
    let start = &events.only_exit_of(sender.pid())["process"]["start_time"];
    let sender = json!({"pid": sender.pid(), "start_time": start, "ppid": std::process::id()});
    let cause = json!({"type": "killed", "sender": sender, "prompted_by": null});
    assert_has(&exit, &json!({"status": {"signal": signal}, "cause": cause}));
    exit
}

fn sender_of_each_system_call() {
    for method in ["kill", "tgkill", "sigqueue", "pidfd"] {
        for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGHUP] {
            let exit = killed_by(&["send", method], &["wait"], signal);
            let args = json!(["send", method]);
            assert_eq!(exit["cause"]["sender"]["args"][1], args[0], "{exit:#}");
            assert_eq!(exit["cause"]["sender"]["args"][2], args[1], "{exit:#}");
            assert_eq!(exit["cause"]["sender"]["comm"], "workload", "{exit:#}");
        }
    }
}

fn a_whole_process_group() {
    killed_by(&["send", "group"], &["own-group", "wait"], libc::SIGKILL);
}

fn a_whole_cgroup() {
    let group = Cgroup::v2("killed");
    let mut observer = Observer::tail(&[]);
    let start = |_| Workload::start_ready(["in-cgroup", group.arg(), "wait"]);
    let mut victims: Vec<_> = (0..3).map(start).collect();
    let (killer, _) = run(["kill-cgroup", group.arg()]);
    for victim in &mut victims {
        victim.wait();
        observer.exit_of(victim.pid());
    }
    let events = observer.stop().events;
    for victim in &victims {
        let cause = json!({"type": "killed", "sender": {"pid": killer.pid()}});
        let exit = events.only_exit_of(victim.pid());
        assert_has(exit, &json!({"status": {"signal": libc::SIGKILL}, "cause": cause}));
    }
}

/// The sender is this test process, which is older.
fn sender_started_before_the_observer() {
    let mut victim = Workload::start_ready(["wait"]);
    let mut observer = Observer::tail(&[]);
    victim.signal(libc::SIGKILL);
    victim.wait();
    let exit = observer.exit_of(victim.pid());
    observer.stop();
    let sender = json!({"pid": std::process::id()});
    assert_has(&exit, &json!({"cause": {"type": "killed", "sender": sender}}));
}

fn sender_of_another_user() {
    let victim = ["as-user", "65534", "wait"];
    let exit = killed_by(&["as-user", "65534", "send", "kill"], &victim, libc::SIGTERM);
    assert_has(&exit, &json!({"process": {"uid": 65534}, "cause": {"sender": {"uid": 65534}}}));
}

fn signal_to_itself() {
    let mut observer = Observer::tail(&[]);
    let (workload, _) = run(["raise", "15"]);
    let exit = observer.exit_of(workload.pid());
    observer.stop();
    let sender = json!({"pid": workload.pid()});
    assert_has(&exit, &json!({"cause": {"type": "killed", "sender": sender}}));
}

/// Signals of the kernel, sent by a process.
fn sent_sigsegv_is_not_a_fault() {
    let signals = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGABRT,
        libc::SIGSYS,
        libc::SIGXCPU,
        libc::SIGPIPE,
        libc::SIGALRM,
    ];
    for signal in signals {
        let exit = killed_by(&["send", "kill"], &["wait"], signal);
        assert_has(&exit, &json!({"cause": {"address": null}}));
    }
}

/// The only key of `value` that ends in `seconds`.
fn seconds(value: &Value) -> f64 {
    let keys = value.as_object().into_iter().flatten();
    let spans: Vec<_> = keys.filter(|(key, _)| key.ends_with("seconds")).collect();
    match spans[..] {
        [(_, span)] => span.as_f64().expect("a span is a number"),
        _ => panic!("not one span in {value}"),
    }
}

/// Sends SIGTERM, waits for the end (or sends SIGKILL after a moment), and checks the `exit`.
fn prompted(victim_words: &[&str], code: Option<i32>) {
    let mut observer = Observer::tail(&["--all"]);
    let mut victim = Workload::start_ready(victim_words);
    let pid = victim.pid().to_string();
    let before = Instant::now();
    let (asker, _) = run(["send", "kill", "15", &pid]);
    let asked = Instant::now();
    let mut at_least = 0.15;
    let mut killer = None;
    if code.is_none() {
        std::thread::sleep(std::time::Duration::from_millis(150));
        at_least = asked.elapsed().as_secs_f64();
        killer = Some(run(["send", "kill", "9", &pid]).0);
    }
    victim.wait();
    let at_most = before.elapsed().as_secs_f64();
    observer.exit_of(victim.pid());
    let exit = observer.stop().events.only_exit_of(victim.pid()).clone();
    let cause = match (&killer, code) {
        (Some(killer), _) => json!({"type": "killed", "sender": {"pid": killer.pid()}}),
        (None, code) => {
            assert_has(&exit, &json!({"status": {"code": code}}));
            json!({"type": "exit_code", "sender": null})
        }
    };
    assert_has(&exit, &json!({ "cause": cause }));
    let prompt = &exit["cause"]["prompted_by"];
    assert_has(prompt, &json!({"signal": libc::SIGTERM, "sender": {"pid": asker.pid()}}));
    // It lies between these two moments of the test, however slow the machine is.
    let seconds = seconds(prompt);
    assert!(at_least <= seconds + 0.001 && seconds <= at_most, "{at_least} {seconds} {at_most}");
}

fn sigterm_then_exit_3() {
    prompted(&["handle-term", "3", "150"], Some(3));
}

fn sigterm_then_exit_0() {
    prompted(&["handle-term", "0", "150"], Some(0));
}

/// Service managers do this to a service that ignores SIGTERM.
fn sigterm_then_sigkill() {
    prompted(&["ignore-term", "ignored"], None);
    prompted(&["ignore-term", "blocked"], None);
    prompted(&["handle-term", "3", "60000"], None);
}

/// The kernel sends it on behalf of the parent.
fn parent_death_signal() {
    let mut observer = Observer::tail(&["--all"]);
    let (mut parent, _) = run(["parent-death", "9"]);
    let child = parent.pid_of("child_pid");
    let exit = observer.exit_of(child);
    observer.stop();
    assert_has(&exit, &json!({"status": {"signal": libc::SIGKILL}}));
    let cause = &exit["cause"];
    let by_parent = cause["type"] == "killed" && cause["sender"]["pid"] == parent.pid();
    assert!(by_parent || cause["type"] == "kernel", "{cause:#}");
}

/// The sender is named by its pid in the root namespace.
fn sender_in_a_pid_namespace() {
    let mut observer = Observer::tail(&["--all"]);
    let (mut outer, _) = run(["in-pidns", "storm-killed", "3"]);
    let sender = outer.pid_of("child_pid");
    observer.exit_of(outer.pid());
    let events = observer.stop().events;
    let victims: Vec<_> = events.exits_of_children(sender).collect();
    assert_eq!(victims.len(), 3, "{events}");
    for victim in victims {
        let sender = json!({"pid": sender, "ns_pid": 1});
        assert_has(victim, &json!({"cause": {"type": "killed", "sender": sender}}));
    }
}

/// The kernel kills all processes of a pid namespace when its first one ends.
fn end_of_a_pid_namespace() {
    let mut observer = Observer::tail(&["--all"]);
    let (mut outer, _) = run(["in-pidns", "leave-child", "4"]);
    let init = outer.pid_of("child_pid");
    observer.exit_of(outer.pid());
    let events = observer.stop().events;
    assert_has(events.only_exit_of(init), &json!({"status": {"code": 4}}));
    let children: Vec<_> = events.exits_of_children(init).collect();
    assert_eq!(children.len(), 1, "{events}");
    let cause = &children[0]["cause"];
    let by_init = cause["type"] == "killed" && cause["sender"]["pid"] == init;
    assert!(by_init || cause["type"] == "kernel", "{cause:#}");
}

/// Any user may run a program named earlyoom.
fn fake_oom_daemon_is_a_plain_sender() {
    for name in ["earlyoom", "systemd-oomd"] {
        let exit = killed_by(&["named", name, "send", "kill"], &["wait"], libc::SIGKILL);
        assert_has(&exit, &json!({"cause": {"sender": {"comm": name}}}));

        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join(name);
        std::fs::copy(binaries::workload(), &copy).expect("room for a copy");
        let exit = killed_by_copy(&copy);
        assert_has(&exit, &json!({"cause": {"type": "killed", "sender": {"comm": name}}}));
    }
}

fn killed_by_copy(program: &Path) -> Value {
    let mut observer = Observer::tail(&[]);
    let mut victim = Workload::start_ready(["wait"]);
    let mut command = Command::new(program);
    command.args(["send", "kill", "9", &victim.pid().to_string()]);
    let mut sender = Workload::from(command);
    sender.wait();
    victim.wait();
    observer.exit_of(victim.pid());
    let exit = observer.stop().events.only_exit_of(victim.pid()).clone();
    assert_has(&exit, &json!({"cause": {"sender": {"pid": sender.pid()}}}));
    exit
}

/// Root's program in a system folder (as this process sees it) is an OOM daemon. Run by another user it is not, since
/// that user controls it.
/// There anybody may have any program at any path. The host's scenarios have one that is installed.
fn an_oom_daemon_in_a_mount_namespace_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(binaries::workload(), folder.path().join("earlyoom")).expect("room for a copy");
    let readable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), readable).expect("it is ours");
    // A guest may lack some of these; a symlink would have another path.
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/bin"];
    let real = |path: &&str| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let bin = folders.into_iter().find(real).expect("a folder for programs");
    let program = format!("{bin}/earlyoom");
    let installed = ["see", folder.path().to_str().expect("UTF-8"), bin];
    let run_it = ["exec", &program, "send", "kill", "9"];
    for user in [&[][..], &["as-user", "65534"]] {
        let mut observer = Observer::tail(&[]);
        let mut victim = Workload::start_ready(["as-user", "65534", "wait"]);
        let pid = victim.pid().to_string();
        let (sender, _) = run(installed.iter().chain(user).chain(&run_it).chain(&[pid.as_str()]));
        victim.wait();
        observer.exit_of(victim.pid());
        let exit = observer.stop().events.only_exit_of(victim.pid()).clone();
        let sender = json!({"pid": sender.pid(), "exe": program});
        assert_has(&exit, &json!({"cause": {"type": "killed", "sender": sender}}));
    }
}
