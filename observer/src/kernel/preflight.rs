//! Checks before loading: fails early, with one line that says what to do.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Failure;

/// Where the kernel has its type information.
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

/// Descriptors needed: an idle service has 44; scans, clients and the store take more.
const DESCRIPTORS: u64 = 128;

/// Raises the limit on open files if needed. With too few, the kernel's own error reads as if it could not load programs.
fn descriptors() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= DESCRIPTORS);
    // A process may raise its own limit up to the hard limit.
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

/// capabilities(7): loading tracing programs takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN.
fn may_load() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| {
        sets.effective.contains(CapabilitySet::SYS_ADMIN)
            || sets.effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
    })
}

/// Mounts tracefs if it is not mounted, as perf(1) does: system call tracepoints need it.
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

/// Whether a task may be preempted inside the kernel. Most kernels can be switched; Ubuntu's servers run in a mode without.
#[must_use]
pub fn preemptible() -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let uname = rustix::system::uname();
    is_preemptible(
        &read("/sys/kernel/debug/sched/preempt"),
        &read("/proc/cmdline"),
        &own_config().unwrap_or_else(|_| read(&format!("/boot/config-{}", release()))),
        &uname.version().to_string_lossy(),
    )
}

/// The kernel's build configuration, if it exports it (`CONFIG_IKCONFIG_PROC`).
fn own_config() -> std::io::Result<String> {
    let packed = std::fs::File::open("/proc/config.gz")?;
    std::io::read_to_string(flate2::read::GzDecoder::new(packed))
}

/// By the active mode (`sched_dynamic_show`, kernel/sched/debug.c: the one in brackets), which a kernel in lockdown hides;
/// else by its command line, else by its build configuration, else by its version string.
fn is_preemptible(modes: &str, cmdline: &str, config: &str, version: &str) -> bool {
    let asked =
        || cmdline.split_whitespace().filter_map(|word| word.strip_prefix("preempt=")).next_back();
    let built = |name: &str| config.lines().any(|line| line == format!("CONFIG_PREEMPT_{name}=y"));
    let mode =
        modes.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(mode, _)| mode);
    match mode.or_else(asked) {
        Some(mode) => !matches!(mode, "none" | "voluntary"),
        None => !(built("NONE") || built("VOLUNTARY")) && version.contains("PREEMPT"),
    }
}

/// The kernel's release.
#[must_use]
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::is_preemptible;

    const DYNAMIC: &str = "#1 SMP PREEMPT_DYNAMIC";

    #[test]
    fn the_active_mode_comes_first() {
        assert!(!is_preemptible("none (voluntary) full lazy\n", "preempt=full", "", DYNAMIC));
        assert!(is_preemptible("(full) lazy\n", "", "CONFIG_PREEMPT_NONE=y\n", DYNAMIC));
        assert!(is_preemptible("", "quiet preempt=none preempt=full", "", "#1 SMP"));
        assert!(!is_preemptible("", "quiet preempt=none", "", DYNAMIC));
        assert!(!is_preemptible(
            "",
            "quiet",
            "CONFIG_SMP=y\nCONFIG_PREEMPT_VOLUNTARY=y\n",
            DYNAMIC
        ));
        assert!(is_preemptible("", "", "# CONFIG_PREEMPT_NONE is not set\n", DYNAMIC));
        assert!(!is_preemptible("", "", "", "#1 SMP"));
    }
}
