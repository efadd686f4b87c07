//! Where the binaries are. Looked up when a test runs, never when it is built: the same tests run
//! in guests, where all of them lie in one folder.

use std::path::{Path, PathBuf};

/// The `observer` under test: `OBSERVER_BIN`, or beside this test, or in the build directory that
/// this test came from (release first: what users run).
pub fn observer() -> PathBuf {
    find("OBSERVER_BIN", "observer", &["../../release", "../../debug"])
}

/// The program with the known ends: `WORKLOAD_BIN`, or beside this test or the folder above.
pub fn workload() -> PathBuf {
    find("WORKLOAD_BIN", "workload", &[".."])
}

fn find(variable: &str, name: &str, elsewhere: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return absolute(Path::new(&path));
    }
    let this = std::env::current_exe().expect("this test knows where it is");
    let beside = this.parent().expect("a file is in a folder");
    let folders = std::iter::once(".").chain(elsewhere.iter().copied());
    let mut candidates = folders.map(|folder| beside.join(folder).join(name));
    match candidates.find(|path| path.is_file()) {
        Some(path) => absolute(&path),
        None => panic!("no {name} near {}: build it, or set {variable}", this.display()),
    }
}

/// Without `..` and links: the path that the kernel knows a running program by.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}
