//! `observer tail` as text. Snapshots beside the code cover the layout; this proves that lines come, and that names
//! cannot control the terminal.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;
use std::time::Instant;

use observer_tests::process::Process;
use observer_tests::{Cgroup, Workload, binaries, observer, patience, run, sys};

crate::tests![
    exit_is_shown,
    hostile_names_are_escaped,
    hostile_paths_are_escaped needs CgroupV2,
    closed_pipe_is_not_an_error,
    closed_pipe_is_not_an_error_for_json,
];

/// `observer tail` that has printed its first line.
fn watching() -> Process {
    let process = Process::start(observer::command(["tail"]));
    let begun = process.out.grow_beyond(0, Instant::now() + patience::limit());
    assert!(begun, "it does not begin{}", process.said());
    process
}

/// Its whole output, once it contains `word`.
fn text_with(mut process: Process, word: &str) -> String {
    let deadline = Instant::now() + patience::limit();
    let text = |lines: Vec<Vec<u8>>| String::from_utf8(lines.join(&b'\n')).expect("UTF-8");
    let mut known = 0;
    while !text(process.out.so_far()).contains(word) {
        let grown = process.out.grow_beyond(known, deadline);
        assert!(grown, "no line with {word:?}{}", process.said());
        known = process.out.so_far().len();
    }
    process.signal(libc::SIGINT);
    assert!(process.wait().success());
    text(process.out.to_the_end())
}

/// A failing test prints only lines about its own process.
fn lines_with<'text>(text: &'text str, word: &str) -> Vec<&'text str> {
    text.lines().filter(|line| line.contains(word)).collect()
}

fn exit_is_shown() {
    let observer = watching();
    let (workload, _) = run(["named", "fine-name", "raise", "9"]);
    let pid = workload.pid().to_string();
    let text = text_with(observer, &pid);
    let headlines = lines_with(&text, &pid);
    assert!(headlines[0].contains("fine-name"), "{headlines:?}");
    assert!(text.contains("SIGKILL"), "{headlines:?}");
}

/// Characters that a terminal obeys or that disguise a line: C0, C1, bidi, invisible.
fn is_dangerous(letter: char) -> bool {
    let invisible = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}', '\u{2028}', '\u{2029}'];
    (letter.is_control() && letter != '\n')
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}')
        || invisible.contains(&letter)
}

const HOSTILE: [&[u8]; 9] = [
    b"\x1b[2J\x1b[31mx",
    b"a\nb exit 0",
    b"a\rb\x08\x7f",
    b"\xc2\x9b31mx",
    b"\xff\xfe\x80",
    "\u{202e}gpj.exe".as_bytes(),
    "\u{2066}x\u{2069}".as_bytes(),
    "a\u{200b}\u{200d}b\u{feff}".as_bytes(),
    "\u{e0041}\u{ad}".as_bytes(),
];

/// Asserts that the output up to the exit of a marker is harmless.
fn assert_harmless(observer: Process) {
    let (marker, _) = run(["exit", "1"]);
    let text = text_with(observer, &marker.pid().to_string());
    let dangerous: Vec<_> = text.chars().filter(|letter| is_dangerous(*letter)).collect();
    assert!(dangerous.is_empty(), "{dangerous:?}");
    // A name cannot start a line of its own.
    assert!(!text.lines().any(|line| line.starts_with("b exit 0")));
    assert!(text.contains("gpj.exe"), "the names were shown, or nothing is proven");
}

fn hostile_names_are_escaped() {
    let observer = watching();
    for name in HOSTILE {
        let name = OsString::from_vec(name.to_vec());
        let (_hostile, _) = run(["named".into(), name.clone(), "exit".into(), "1".into(), name]);
    }
    assert_harmless(observer);
}

/// Any user may choose the paths of programs and cgroups.
fn hostile_paths_are_escaped() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::v2("hostile");
    let observer = watching();
    for name in HOSTILE {
        let name = OsString::from_vec(name.to_vec());
        let program = folder.path().join(&name);
        std::fs::copy(binaries::workload(), &program).expect("room for a copy");
        let inner = group.dir.join(&name);
        // The kernel refuses a line feed there.
        let inside = std::fs::create_dir(&inner).is_ok();
        let mut command = std::process::Command::new(&program);
        if inside {
            command.arg("in-cgroup").arg(&inner);
        }
        command.args(["exit", "1"]);
        let mut workload = Workload::from(command);
        workload.wait();
        if inside {
            Cgroup::remove(&inner);
        }
    }
    assert_harmless(observer);
}

/// Reads the first byte, closes the pipe, lets processes exit, and expects an orderly end.
fn close_the_pipe(words: &[&str]) {
    let mut command = observer::command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut out = child.stdout.take().expect("piped");
    out.read_exact(&mut [0]).expect("it begins");
    drop(out);
    let handle = sys::pidfd(child.id()).expect("a child has a handle");
    let _victims: [Workload; 3] = std::array::from_fn(|_| run(["exit", "1"]).0);
    let in_time = sys::ended_within(&handle, patience::limit());
    sys::kill_by(&handle);
    let output = child.wait_with_output().expect("it is ours");
    assert!(in_time, "it still runs");
    assert!(output.status.success(), "{}", output.status);
    // The summary line may be printed here too, and nothing else.
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.lines().count() <= 1, "{stderr}");
    assert!(stderr.is_empty() || stderr.contains("lost"), "{stderr}");
}

fn closed_pipe_is_not_an_error() {
    close_the_pipe(&["tail"]);
}

fn closed_pipe_is_not_an_error_for_json() {
    close_the_pipe(&["tail", "--json"]);
}
