//! Whether the service's cgroup leaves it the memory that it may need.

use std::{fs, path::Path};

use crate::{logging, model::human};

/// What the service stays below, whatever anybody without rights does.
const NEEDED: u64 = 64 << 20;

/// Says so if its cgroup has less.
pub(super) fn warn() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if let Some(limit) = limit(&own).filter(|limit| *limit < NEEDED) {
        let (limit, needed) = (human::size(limit), human::size(NEEDED));
        logging::say(&format!(
            "observer: the memory limit of its cgroup is {limit}, and it may need {needed}: raise MemoryMax= of its unit, or a storm may end it"
        ));
    }
}

/// The lowest memory limit of a cgroup and of those above it, by `/proc/PID/cgroup`.
fn limit(own: &str) -> Option<u64> {
    let path = |controller: &str| {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|c| c == controller).then_some(path)
        })
    };
    let v2 = path("").map(|path| lowest(Path::new("/sys/fs/cgroup"), path, "memory.max"));
    let v1 = path("memory")
        .map(|path| lowest(Path::new("/sys/fs/cgroup/memory"), path, "memory.limit_in_bytes"));
    [v2, v1].into_iter().flatten().flatten().min()
}

fn lowest(root: &Path, path: &str, file: &str) -> Option<u64> {
    let path = Path::new(path.trim_start_matches('/'));
    let limits = path.ancestors().map(|above| root.join(above).join(file));
    let limits = limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.min()
}
