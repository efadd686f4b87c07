//! What a test needs of the machine, and why this machine lacks it. A test whose need is not met is reported as
//! skipped, with its name and the reason.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{binaries, cgroup, sys, tiers};

/// A feature that some kernels, machines or users do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A cgroup controller that limits memory, v1 or v2.
    MemoryCgroup,
    /// The same, v2: only v2 can kill a whole cgroup.
    MemoryCgroupV2,
    /// A cgroup v2 hierarchy, with or without controllers.
    CgroupV2,
    /// `cgroup.kill`, since Linux 5.14.
    CgroupKill,
    /// Core dumps into the working directory.
    CoreFile,
    /// Multipath TCP.
    Mptcp,
    /// nginx, as distributions package it.
    Nginx,
    /// Node.js.
    Node,
    /// A loop device, and mkfs.ext4.
    LoopDisk,
    /// Function tracing works, so that both tiers can be compared.
    Trampolines,
    /// A bind through io_uring, since Linux 6.11.
    UringBind,
    /// System calls of 32-bit programs.
    Ia32,
    /// Binds are seen without function tracing.
    BindCalls,
    /// File systems in userspace.
    Fuse,
    /// A machine that runs only the tests, which may run it out of memory.
    OwnMachine,
}

/// Says that this machine runs only the tests.
const OWN_MACHINE: &str = "OBSERVER_TEST_OWN_MACHINE";

/// Why no live test can run here at all.
pub fn why_nothing_runs() -> Option<String> {
    if !sys::is_root() {
        return Some("not root".to_owned());
    }
    missing("/sys/kernel/btf/vmlinux", "this kernel has no BTF")
}

impl Need {
    /// Why it is not met, if it is not.
    pub fn why_not(self) -> Option<String> {
        match self {
            Self::MemoryCgroup => {
                cgroup::memory_root().is_none().then(|| "no cgroup memory controller".to_owned())
            }
            Self::MemoryCgroupV2 => (cgroup::memory_root() != Some(cgroup::Version::V2))
                .then(|| "no cgroup v2 memory controller".to_owned()),
            Self::CgroupV2 => {
                cgroup::v2_root().is_none().then(|| "no cgroup v2 is mounted".to_owned())
            }
            Self::CgroupKill => cgroup::why_no_kill(),
            Self::CoreFile => {
                let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").ok()?;
                let elsewhere = pattern.starts_with(['|', '/', '@']);
                elsewhere.then(|| format!("core_pattern is {}", pattern.trim()))
            }
            Self::Mptcp => missing("/proc/sys/net/mptcp/enabled", "this kernel has no MPTCP"),
            Self::Nginx => not_installed("nginx", "nginx-light"),
            Self::Node => not_installed("node", "nodejs"),
            Self::LoopDisk => missing("/dev/loop-control", "this kernel has no loop devices")
                .or_else(|| not_installed("mkfs.ext4", "e2fsprogs")),
            Self::Trampolines => tiers::with().why_not("fexit/inet_bind"),
            Self::UringBind => knows_no_way("by-uring", "this kernel binds nothing by io_uring"),
            Self::Ia32 => knows_no_way("by-ia32", "this kernel runs no 32-bit programs"),
            Self::OwnMachine => env::var_os(OWN_MACHINE).is_none().then(|| {
                format!("others use this machine ({OWN_MACHINE}=1, or cargo xtask guests)")
            }),
            // The file may be there without its module.
            Self::Fuse => fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/fuse")
                .err()
                .map(|why| format!("this kernel has no FUSE (/dev/fuse: {why})")),
            Self::BindCalls => tiers::without().why_not("tp/syscalls:sys_exit_bind"),
        }
    }
}

fn not_installed(program: &str, package: &str) -> Option<String> {
    let why = format!("{program} is not installed (apt-get install {package})");
    sys::installed(program).is_none().then_some(why)
}

/// Asks the workload, which tries.
fn knows_no_way(way: &str, why: &str) -> Option<String> {
    let mut command = Command::new(binaries::workload());
    let ended = command.args(["knows-way", way]).output().expect("it runs");
    (!ended.status.success()).then(|| {
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        format!("{why} ({}) {said}", ended.status).trim().to_owned()
    })
}

fn missing(path: &str, why: &str) -> Option<String> {
    (!Path::new(path).exists()).then(|| format!("{why} ({path})"))
}
