//! The path at the time of death, whatever was cached: the kernel side caches paths.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use observer_tests::{Cgroup, Mounted, Observer, Workload, binaries};

crate::tests![
    executable_and_its_folder,
    executable_on_another_mount,
    executable_replaced,
    cgroup needs MemoryCgroup,
];

/// This program exits twice; the second time its path may come from the cache.
fn dies_twice(observer: &mut Observer, program: &Path) {
    for _ in 0..2 {
        let mut command = Command::new(program);
        command.args(["exit", "1"]);
        let mut workload = Workload::from(command);
        workload.wait();
        let exit = observer.exit_of(workload.pid());
        assert_eq!(exit["process"]["exe"], program.to_str().expect("UTF-8"));
    }
}

fn executable_and_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("one/inner")).expect("room");
    fs::copy(binaries::workload(), at("one/inner/program")).expect("room for a copy");
    let mut observer = Observer::tail(&[]);
    dies_twice(&mut observer, &at("one/inner/program"));
    fs::rename(at("one/inner/program"), at("one/inner/gramprog")).expect("it is ours");
    dies_twice(&mut observer, &at("one/inner/gramprog"));
    fs::rename(at("one"), at("two")).expect("it is ours");
    dies_twice(&mut observer, &at("two/inner/gramprog"));
    fs::create_dir(at("three")).expect("room");
    fs::rename(at("two/inner"), at("three/inner")).expect("it is ours");
    dies_twice(&mut observer, &at("three/inner/gramprog"));
    observer.stop();
}

/// The same file on two mounts in turn: the second may reuse the memory of the first.
fn executable_on_another_mount() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    for path in ["source", "one", "two"] {
        fs::create_dir(at(path)).expect("room");
    }
    fs::copy(binaries::workload(), at("source/program")).expect("room for a copy");
    let mut observer = Observer::tail(&[]);
    for _ in 0..10 {
        for place in ["one", "two"] {
            let _mounted = Mounted::bind(&at("source"), &at(place));
            dies_twice(&mut observer, &at(place).join("program"));
        }
    }
    dies_twice(&mut observer, &at("source/program"));
    observer.stop();
}

/// Like deployments: one file after the other, with names of one length.
fn executable_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut observer = Observer::tail(&[]);
    for number in 0..30 {
        let program = folder.path().join(format!("release-{number:02}"));
        fs::copy(binaries::workload(), &program).expect("room for a copy");
        dies_twice(&mut observer, &program);
        fs::remove_file(&program).expect("it is ours");
    }
    observer.stop();
}

/// Version 1 can rename a cgroup; in version 2 another one takes its place.
fn cgroup() {
    let top = Cgroup::with_memory(256 << 20);
    let mut observer = Observer::tail(&[]);
    let mut died_in = |dir: &str, path: &str| {
        for _ in 0..2 {
            let mut workload = Workload::start(["in-cgroup", dir, "exit", "1"]);
            workload.wait();
            let exit = observer.exit_of(workload.pid());
            assert_eq!(exit["process"]["cgroup"], path);
        }
    };
    let one = top.child("one");
    died_in(one.arg(), &one.path);
    let (dir, path) = (format!("{}/two", top.arg()), format!("{}/two", top.path));
    if fs::rename(one.arg(), &dir).is_ok() {
        died_in(&dir, &path);
        fs::rename(&dir, one.arg()).expect("it is ours");
        died_in(one.arg(), &one.path);
        // Its owner may give it a name with the same hash.
        let [a, b] = alike().map(|name| format!("{}/{name}", top.arg()));
        let shown = |dir: &str| dir.replacen(top.arg(), &top.path, 1);
        fs::rename(one.arg(), &a).expect("it is ours");
        died_in(&a, &shown(&a));
        fs::rename(&a, &b).expect("it is ours");
        died_in(&b, &shown(&b));
        fs::rename(&b, one.arg()).expect("it is ours");
    } else {
        drop(one);
        let two = top.child("two");
        died_in(two.arg(), &path);
    }
    observer.stop();
}

/// Two names with the same hash: `kernfs_name_hash` (fs/kernfs/dir.c) keeps 31 bits, of what everybody can work out.
fn alike() -> [String; 2] {
    let mut known = HashMap::new();
    for number in 0_u64.. {
        // Names that are alike have hashes that are spread evenly, and none twice.
        let name = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
        let sum = name.bytes().fold(0_u64, |sum, byte| {
            let byte = u64::from(byte);
            sum.wrapping_add(byte << 4).wrapping_add(byte >> 4).wrapping_mul(11)
        });
        let hash = sum.wrapping_mul(0x61c8_8646_80b5_83eb) >> 32 & 0x7fff_ffff;
        if let Some(other) = known.insert(hash, name.clone()) {
            return [other, name];
        }
    }
    unreachable!("there are more names than hashes")
}
