//! Refuses early, and says what to do.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Failure;

/// Where the kernel shows its type information.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Fails when this user or this kernel can't run the programs at all.
pub fn check() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Unsupported(
            "loading the eBPF programs needs root; run it with sudo".to_owned(),
        )
        .into());
    }
    if !may_load() {
        return Err(Failure::Unsupported(
            "this process is root without CAP_BPF and CAP_PERFMON (a container, or a hardened unit): give it both, \
             or CAP_SYS_ADMIN"
                .to_owned(),
        )
        .into());
    }
    if !Path::new(BTF_PATH).exists() {
        return Err(Failure::Unsupported(format!(
            "this kernel has no type information ({BTF_PATH}); observer needs a kernel built with \
             CONFIG_DEBUG_INFO_BTF, as every Ubuntu kernel since 20.10 is"
        ))
        .into());
    }
    descriptors()
}

/// An idle service has 44; looks, clients and the record take more.
const DESCRIPTORS: u64 = 128;

/// The kernel's own word for too few of them sounds as if it could not load programs.
fn descriptors() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= DESCRIPTORS);
    // Up to the hard limit everybody may raise their own.
    let raised = Rlimit { current: limit.maximum, ..limit };
    if enough(limit.current)
        || (enough(limit.maximum) && setrlimit(Resource::Nofile, raised).is_ok())
    {
        return Ok(());
    }
    bail!(
        "the limit on open files is {}, and observer needs {DESCRIPTORS}: `ulimit -n 1024`, or LimitNOFILE=1024 in the unit",
        limit.current.unwrap_or_default()
    );
}

/// capabilities(7): loading tracing programs takes both, or the old all-embracing one.
fn may_load() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| {
        sets.effective.contains(CapabilitySet::SYS_ADMIN)
            || sets.effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
    })
}

/// Has tracefs mounted where it belongs, as perf(1) does: system call tracepoints are named through it.
pub fn tracefs() -> Result<()> {
    const PATH: &str = "/sys/kernel/tracing";
    if Path::new(PATH).join("events").exists() {
        return Ok(());
    }
    rustix::mount::mount("tracefs", PATH, "tracefs", rustix::mount::MountFlags::empty(), None)
        .with_context(|| format!("can't mount tracefs on {PATH}"))?;
    tracing::info!("mounted tracefs on {PATH}");
    Ok(())
}

/// Whether a task may be preempted inside the kernel: by the mode in force where debugfs tells it (`sched_dynamic_show`,
/// kernel/sched/debug.c, the one in brackets), else as far as the kernel's version string says. Ubuntu's kernels for servers
/// can be, and are not.
#[must_use]
pub fn preemptible() -> bool {
    let modes = std::fs::read_to_string("/sys/kernel/debug/sched/preempt").unwrap_or_default();
    if modes.contains("(none)") || modes.contains("(voluntary)") {
        return false;
    }
    let uname = rustix::system::uname();
    uname.version().to_string_lossy().contains("PREEMPT")
}

/// The kernel's release.
#[must_use]
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
