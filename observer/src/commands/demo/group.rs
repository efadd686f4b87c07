//! The memory group of the demo: its own, with a small limit, and gone when the demo is.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Every group of a demo is called so; its pid follows.
const PREFIX: &str = "observer-demo-";

/// Where the memory controller of version 1 is mounted.
const V1: &str = "/sys/fs/cgroup/memory";
/// Where version 2 is: alone, or beside version 1.
const V2: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The last process is reaped a moment before its group knows.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);

/// A group that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Group {
    dir: PathBuf,
}

/// Why there is none: words for a person.
#[derive(Debug)]
pub(super) struct NoGroup(String);

impl fmt::Display for NoGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Group {
    /// Makes one; nothing that exists already is changed for it, so that there may be no place.
    pub(super) fn make(limit_bytes: u64) -> Result<Self, NoGroup> {
        let place = place().ok_or_else(|| {
            NoGroup("no control group here hands the memory controller down".to_owned())
        })?;
        let dir = place.join(format!("{PREFIX}{}", std::process::id()));
        let failed = |error: &dyn fmt::Display| NoGroup(format!("{}: {error}", dir.display()));
        fs::create_dir(&dir).map_err(|error| failed(&error))?;
        let group = Self { dir: dir.clone() };
        group.limit(limit_bytes).map_err(|error| failed(&format!("{error:#}")))?;
        Ok(group)
    }

    /// Its folder.
    #[must_use]
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn limit(&self, limit_bytes: u64) -> Result<()> {
        let v1 = self.dir.join("memory.limit_in_bytes").exists();
        let limit = limit_bytes.to_string();
        let file = if v1 { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.dir.join(file), &limit).context("can't limit its memory")?;
        // These are not on every kernel, and swap is not on every machine. On version 1, a group may also have inherited
        // that it waits where others kill.
        let more: &[(&str, &str)] = if v1 {
            &[
                ("memory.memsw.limit_in_bytes", &limit),
                ("memory.swappiness", "0"),
                ("memory.oom_control", "0"),
            ]
        } else {
            &[("memory.swap.max", "0")]
        };
        for (file, value) in more {
            let _ = fs::write(self.dir.join(file), value);
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + EMPTY_WITHIN;
        while let Err(error) = fs::remove_dir(&self.dir) {
            if error.kind() != io::ErrorKind::ResourceBusy || Instant::now() > deadline {
                tracing::warn!("{} can't be removed: {error}", self.dir.display());
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Removes what demos left behind that were killed with SIGKILL. The kernel keeps a group that has a process in it.
pub(super) fn sweep() {
    let v2 = V2.iter().map(Path::new).find(|root| is_v2(root));
    for root in v2.into_iter().chain([Path::new(V1)]) {
        sweep_below(root, 0);
    }
}

/// No group of a demo lies deeper.
const DEEPEST: usize = 16;

fn sweep_below(dir: &Path, depth: usize) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if is_left_over(&path) {
            let _ = fs::remove_dir(&path);
        } else if depth < DEEPEST {
            sweep_below(&path, depth + 1);
        }
    }
}

fn is_left_over(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// The group to make ours in.
fn place() -> Option<PathBuf> {
    if Path::new(V1).join("memory.limit_in_bytes").exists() {
        return Some(PathBuf::from(V1));
    }
    let root = V2.iter().map(Path::new).find(|root| is_v2(root))?;
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let hands_down = |dir: &Path| {
        let controllers = fs::read_to_string(dir.join("cgroup.subtree_control"));
        controllers.is_ok_and(|names| names.split_whitespace().any(|name| name == "memory"))
    };
    let mut above = root.join(own).ancestors().map(Path::to_owned).collect::<Vec<_>>();
    above.retain(|dir| dir.starts_with(root));
    above.into_iter().find(|dir| hands_down(dir))
}

fn is_v2(root: &Path) -> bool {
    root.join("cgroup.controllers").exists()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_left_over;

    #[test]
    fn only_what_a_dead_demo_left() {
        let own = format!("/x/observer-demo-{}", std::process::id());
        assert!(!is_left_over(Path::new(&own)));
        assert!(is_left_over(Path::new("/x/observer-demo-4194999")));
        for other in ["/x/observer-demo-", "/x/observer-demo-1x", "/x/demo-4194999", "/"] {
            assert!(!is_left_over(Path::new(other)), "{other}");
        }
    }
}
