//! The binary under test is never older than its sources.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use observer_tests::binaries;

const MANIFEST: &str =
    "[package]\nname = \"toy\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[workspace]\n";

fn write(folder: &Path, word: &str) {
    let main = format!("fn main() {{ println!(\"{word}\"); }}\n");
    fs::write(folder.join("src/main.rs"), main).expect("room for it");
}

fn build_and_run(folder: &Path) -> String {
    let cargo = env::var_os("CARGO").expect("cargo runs this test").into();
    let program = binaries::build(&cargo, folder, "toy", "toy", "dev").expect("it builds");
    let output = Command::new(program).output().expect("it runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_changed_source_is_built_before_it_is_tested() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("src")).expect("room for it");
    fs::write(folder.path().join("Cargo.toml"), MANIFEST).expect("room for it");
    write(folder.path(), "old");
    assert_eq!(build_and_run(folder.path()), "old\n");
    write(folder.path(), "new");
    assert_eq!(build_and_run(folder.path()), "new\n");
}

#[test]
fn a_source_that_does_not_compile_is_an_error_and_no_older_binary() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("src")).expect("room for it");
    fs::write(folder.path().join("Cargo.toml"), MANIFEST).expect("room for it");
    write(folder.path(), "old");
    assert_eq!(build_and_run(folder.path()), "old\n");
    fs::write(folder.path().join("src/main.rs"), "fn main() { no }").expect("room for it");
    let cargo = env::var_os("CARGO").expect("cargo runs this test").into();
    let built = binaries::build(&cargo, folder.path(), "toy", "toy", "dev");
    assert!(built.is_err(), "{built:?}");
}

/// This file once more, with the variables that cargo sets taken away: as somebody runs a test program by hand.
#[test]
fn without_cargo_and_without_the_variable_a_test_refuses() {
    const INNER: &str = "OBSERVER_TEST_INNER";
    if env::var_os(INNER).is_some() {
        binaries::observer();
        return;
    }
    let this = env::current_exe().expect("this test knows where it is");
    // What an older version of these tests would have taken: one beside the test.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("binaries");
    fs::copy(this, &copy).expect("room for a copy");
    fs::copy("/bin/true", folder.path().join("observer")).expect("room for a copy");
    let mut command = Command::new(copy);
    command.args(["--exact", "without_cargo_and_without_the_variable_a_test_refuses"]);
    command.env(INNER, "1").env_remove("CARGO").env_remove("OBSERVER_BIN");
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(&binaries::refusal("OBSERVER_BIN")), "{said}");
}
