//! The command line, without root and without tracing.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use observer_tests::{binaries, observer, sys};
use serde_json::Value;

/// The commands of the contract.
const COMMANDS: [&str; 4] = ["tail", "doctor", "demo", "schema"];

fn output(words: &[&str]) -> Output {
    observer::command(words).stdin(Stdio::null()).output().expect("observer runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn help_goes_to_stdout() {
    for words in
        [vec!["--help"], vec!["help"]].into_iter().chain(COMMANDS.map(|name| vec![name, "--help"]))
    {
        let output = output(&words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(text(&output.stdout).contains("Usage:"), "{words:?}");
        assert_eq!(text(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn help_names_every_command() {
    let output = output(&["--help"]);
    let help = text(&output.stdout);
    let listed = |name: &&str| help.lines().any(|line| line.trim_start().starts_with(*name));
    let missing: Vec<_> = COMMANDS.iter().filter(|name| !listed(name)).collect();
    assert!(missing.is_empty(), "{missing:?} not in\n{help}");
}

#[test]
fn help_of_tail_names_every_filter() {
    let output = output(&["tail", "--help"]);
    let help = text(&output.stdout);
    let flags = [
        "--kind",
        "--unit",
        "--comm",
        "--pid",
        "--port",
        "--user",
        "--container",
        "--all",
        "--json",
        "--format",
    ];
    let missing: Vec<_> = flags.iter().filter(|flag| !help.contains(**flag)).collect();
    assert!(missing.is_empty(), "{missing:?} not in\n{help}");
}

#[test]
fn version_is_one_line() {
    let output = output(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert!(text(&output.stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_status_2_on_stderr() {
    let wrong: [&[&str]; 11] = [
        &[],
        &["no-such-command"],
        &["tail", "--no-such-flag"],
        &["tail", "--kind", "no-such-kind"],
        &["tail", "--pid", "none"],
        &["tail", "--port", "65536"],
        &["tail", "--format", "no-such-format"],
        &["schema", "superfluous"],
        &["ports", "0"],
        &["demo-part", "holder"],
        &["ports", "--unit", ""],
    ];
    for words in wrong {
        let output = output(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert_eq!(text(&output.stdout), "", "{words:?}");
        assert_ne!(text(&output.stderr), "", "{words:?}");
    }
}

/// A copy of the binary that every user may run, run as `nobody`.
fn as_nobody(folder: &Path) -> Command {
    let copy = folder.join("observer");
    fs::copy(binaries::observer(), &copy).expect("room for a copy");
    for path in [folder, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let mut command = Command::new(copy);
    if sys::is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

#[test]
fn not_root_is_status_3_with_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = as_nobody(folder.path());
    for words in [&["tail"][..], &["tail", "--json"], &["tail", "--all"], &["demo"]] {
        let output = command_with(&mut command, words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(3), "{words:?}");
        assert_eq!(text(&output.stdout), "", "{words:?}");
        let stderr = text(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("root"), "{stderr}");
        command = as_nobody(folder.path());
    }
}

fn command_with<'command>(command: &'command mut Command, words: &[&str]) -> &'command mut Command {
    command.args(words).stdin(Stdio::null()).current_dir("/")
}

/// `doctor` must answer users who lack what it checks.
#[test]
fn doctor_without_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let output =
        command_with(&mut as_nobody(folder.path()), &["doctor"]).output().expect("it runs");
    let code = output.status.code().expect("no signal");
    assert!([0, 1, 3].contains(&code), "{code}: {}", text(&output.stderr));
    let said = output.stdout.len() + output.stderr.len();
    assert!(said > 0, "it says nothing");
}

#[test]
fn schema_matches_the_checked_in_file() {
    let output = output(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(printed["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::draft202012::meta::validate(&printed).expect("a schema");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema.json");
    let checked_in = fs::read(path).expect("docs/schema.json is checked in");
    let same = output.stdout == checked_in;
    assert!(same, "it has drifted: observer schema > docs/schema.json");
}

#[test]
fn closed_pipe_is_not_an_error() {
    for words in [&["schema"][..], &["--help"], &["tail", "--help"], &["--version"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = observer::command(words);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(text(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn colours_only_on_a_terminal() {
    let mut command = Command::new(binaries::observer());
    for words in [&["--help"][..], &["doctor"], &["no-such-command"]] {
        let output = command.args(words).env_remove("NO_COLOR").output().expect("it runs");
        assert!(!text(&output.stdout).contains('\x1b'), "{words:?}");
        assert!(!text(&output.stderr).contains('\x1b'), "{words:?}");
        command = Command::new(binaries::observer());
    }
}
