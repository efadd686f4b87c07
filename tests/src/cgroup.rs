//! Temporary cgroups, version 1 and version 2. OOM kills happen only inside them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::patience;

/// Where the memory controller of version 1 is mounted.
const V1_MEMORY: &str = "/sys/fs/cgroup/memory";

/// Which hierarchy limits memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One hierarchy for all controllers.
    V2,
}

/// The version of this machine's memory controller.
pub fn memory_root() -> Option<Version> {
    if Path::new(V1_MEMORY).join("memory.limit_in_bytes").exists() {
        return Some(Version::V1);
    }
    let controllers = fs::read_to_string(v2_root()?.join("cgroup.controllers")).ok()?;
    controllers.split_whitespace().any(|name| name == "memory").then_some(Version::V2)
}

/// The mount of version 2: unified, or the version 2 part of a hybrid setup.
pub fn v2_root() -> Option<&'static Path> {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists())
}

/// Why `cgroup.kill` is not available here. The root cgroup never has the file, so a new cgroup is made to find out.
pub fn why_no_kill() -> Option<String> {
    if v2_root().is_none() {
        return Some("no cgroup v2 is mounted".to_owned());
    }
    let missing = !Cgroup::v2("probe").dir.join("cgroup.kill").exists();
    missing.then(|| "this kernel has no cgroup.kill".to_owned())
}

/// A cgroup of this test. It is removed on drop, so declare it before the processes that live in it.
pub struct Cgroup {
    /// Its folder.
    pub dir: PathBuf,
    /// Its path in the hierarchy, as events print it.
    pub path: String,
    version: Version,
}

impl Cgroup {
    /// A cgroup with this memory limit.
    pub fn with_memory(limit_bytes: u64) -> Self {
        let group = Self::with_memory_controller();
        group.limit(limit_bytes);
        group
    }

    fn with_memory_controller() -> Self {
        let version = memory_root().expect("asked for by `Need::MemoryCgroup`");
        let root = match version {
            Version::V1 => Path::new(V1_MEMORY),
            Version::V2 => v2_root().expect("version 2 is mounted"),
        };
        if version == Version::V2 {
            hand_down_memory(root);
        }
        Self::make(root, "", &unique_name("memory"), version)
    }

    /// A cgroup in the version 2 hierarchy, without a memory limit.
    pub fn v2(name: &str) -> Self {
        let root = v2_root().expect("asked for by `Need::CgroupV2`");
        Self::make(root, "", &unique_name(name), Version::V2)
    }

    /// A cgroup inside this one, without a limit of its own.
    pub fn child(&self, name: &str) -> Self {
        if self.version == Version::V2 && memory_root() == Some(Version::V2) {
            hand_down_memory(&self.dir);
        }
        Self::make(&self.dir, &self.path, name, self.version)
    }

    fn make(parent: &Path, parent_path: &str, name: &str, version: Version) -> Self {
        if version == Version::V1 {
            // Before Linux 5.11 a child's memory counts for its parent only with this setting.
            let _ = fs::write(parent.join("memory.use_hierarchy"), "1");
        }
        let dir = parent.join(name);
        fs::create_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
        Self { dir, path: format!("{parent_path}/{name}"), version }
    }

    /// Sets its memory limit.
    pub fn limit(&self, limit_bytes: u64) {
        let file = match self.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        self.set(file, &limit_bytes.to_string());
    }

    /// Writes one of its files.
    pub fn set(&self, file: &str, value: &str) {
        let path = self.dir.join(file);
        fs::write(&path, value).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    }

    /// Its folder, as an argument of the workload `in-cgroup`.
    pub fn arg(&self) -> &str {
        self.dir.to_str().expect("made of ASCII")
    }
}

impl Cgroup {
    /// Removes an empty cgroup. It may stay busy for a moment after its last process was reaped.
    pub fn remove(dir: &Path) {
        let deadline = Instant::now() + patience::limit();
        while let Err(why) = fs::remove_dir(dir) {
            let busy = why.kind() == ErrorKind::ResourceBusy;
            if !busy || Instant::now() > deadline {
                assert!(thread::panicking(), "{}: {why}", dir.display());
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        Self::remove(&self.dir);
    }
}

fn hand_down_memory(parent: &Path) {
    let path = parent.join("cgroup.subtree_control");
    fs::write(&path, "+memory").unwrap_or_else(|why| panic!("{}: {why}", path.display()));
}

fn unique_name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("observer-test-{}-{count}-{what}", std::process::id())
}
