//! What is the same in every event of a session: boot id, host name, page size, memory.

use std::sync::Arc;

/// The machine and its boot.
#[derive(Clone, Debug)]
pub struct Host {
    /// Boot id.
    pub boot_id: Arc<str>,
    /// Host name.
    pub name: Arc<str>,
    /// Bytes a page.
    pub page_bytes: u64,
    /// The memory controller is on a cgroup v1 hierarchy.
    pub memory_v1: bool,
    /// Memory and swap of the machine in bytes.
    pub memory_bytes: u64,
}

impl Host {
    /// Reads it from this machine.
    #[must_use]
    pub fn this() -> Self {
        let boot_id =
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let uname = rustix::system::uname();
        let info = rustix::system::sysinfo();
        let unit = u64::from(info.mem_unit.max(1));
        Self {
            boot_id: boot_id.trim().into(),
            name: uname.nodename().to_string_lossy().into(),
            page_bytes: rustix::param::page_size() as u64,
            memory_v1: memory_is_v1(),
            memory_bytes: (info.totalram + info.totalswap) * unit,
        }
    }
}

/// Inode number of the mount namespace of the first process, in which a path means what it means to root; 0: not known.
#[must_use]
pub fn first_mntns() -> u32 {
    use std::os::linux::fs::MetadataExt as _;
    let inode = std::fs::metadata("/proc/1/ns/mnt").map_or(0, |meta| meta.st_ino());
    u32::try_from(inode).unwrap_or(0)
}

/// `/proc/self/cgroup` lists a v1 hierarchy for each controller that is not in v2.
fn memory_is_v1() -> bool {
    std::fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| {
        text.lines().any(|line| {
            line.split(':').nth(1).is_some_and(|list| list.split(',').any(|c| c == "memory"))
        })
    })
}
