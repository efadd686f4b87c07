//! Paths of unix sockets are resolved in the root and folder of the refused process.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use observer_tests::{Mounted, Observer, Workload, assert_has, binaries, run};
use serde_json::{Value, json};

use crate::bind::{assert_nobody, pids, refused};

crate::tests![
    same_inode_number_on_two_file_systems,
    symlink_inside_a_chroot,
    relative_path,
    relative_path_of_an_exited_process,
];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The refused process stays, so that its root and folder can be read.
fn refused_in(folder: &Path, words: &[&str]) -> Value {
    let mut observer = Observer::tail(&[]);
    let mut command = Command::new(binaries::workload());
    command.current_dir(folder).args(words);
    let asker = Workload::from(command);
    let event = observer.wait_for("the refusal", |event| {
        event["kind"] == "bind" && event["process"]["pid"] == asker.pid()
    });
    observer.stop();
    event
}

fn assert_held(event: &Value, holder: &mut Workload) {
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    assert_has(event, &json!({"cause": {"type": "held", "confidence": "certain"}}));
}

/// Two tmpfs give their files the same inode numbers, as two containers of one image do.
fn same_inode_number_on_two_file_systems() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let mounted = [&one, &two].map(|at| {
        fs::create_dir(at).expect("room");
        Mounted::tmpfs(at, "size=1m")
    });
    let (one, two) = (one.join("socket"), two.join("socket"));
    let mut holder = Workload::start_ready(["hold", "unix", text(&one)]);
    let (_gone, _) = run(["stale", text(&two)]);
    let number = |path: &Path| fs::metadata(path).expect("it is there").ino();
    assert_eq!(number(&one), number(&two), "nothing is tested with two numbers");
    assert_nobody(&refused(&["bind", "1", "unix", text(&two)]), "stale_socket_file");
    assert_held(&refused(&["bind", "1", "unix", text(&one)]), &mut holder);
    drop((holder, mounted));
}

/// As `/var/run` leads to `/run`: inside that root, not in ours.
fn symlink_inside_a_chroot() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    fs::create_dir_all(root.join("observer-test/run")).expect("room");
    symlink("/observer-test/run", root.join("link")).expect("room");
    let within = ["in-root", text(root)];
    let served = ["hold", "unix", "/observer-test/run/served"];
    let mut holder = Workload::start_ready([&within[..], &served].concat());
    let event = refused_in(root, &[&within[..], &["bind-stay", "unix", "/link/served"]].concat());
    assert_held(&event, &mut holder);
    let (_gone, _) = run([&within[..], &["stale", "/link/stale"]].concat());
    let event = refused_in(root, &[&within[..], &["bind-stay", "unix", "/link/stale"]].concat());
    assert_nobody(&event, "stale_socket_file");
    drop(holder);
}

fn relative_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("room");
    let path = folder.path().join("socket");
    let mut holder = Workload::start_ready(["hold", "unix", text(&path)]);
    for way in ["../socket", "../inner/../socket"] {
        assert_held(&refused_in(&inner, &["bind-stay", "unix", way]), &mut holder);
    }
}

/// The process and its folder are gone before the scan: only the text of the path is left.
fn relative_path_of_an_exited_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut observer = Observer::tail(&[]);
    let start = |words: &[&str]| {
        let mut command = Command::new(binaries::workload());
        command.current_dir(folder.path()).args(words);
        Workload::from(command)
    };
    let mut holder = start(&["hold", "unix", "a-path-of-observers-test"]);
    holder.value("ready");
    let mut gone = start(&["bind", "1", "unix", "a-path-of-observers-test"]);
    gone.wait();
    let event = observer.wait_for("the refusal", |event| {
        event["kind"] == "bind" && event["process"]["pid"] == gone.pid()
    });
    observer.stop();
    assert_eq!(pids(&event["holders"]), [u64::from(holder.pid())], "{event:#}");
    let cause = &event["cause"];
    let by_words = cause["evidence"].to_string().contains("the same relative path");
    let confidence = if by_words { "likely" } else { "certain" };
    assert_has(&event, &json!({"cause": {"type": "held", "confidence": confidence}}));
}
