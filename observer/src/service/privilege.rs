//! What the service gives up once its programs are loaded, and how it outlives a shortage of memory.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// What is still needed: scans of all descriptors (`CAP_BPF`, `CAP_PERFMON`), `/proc` of other users' processes
/// (`CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH`), addresses in `/proc/kallsyms` (`CAP_SYSLOG`), files for the group
/// (`CAP_CHOWN`, `CAP_FOWNER`).
fn needed() -> CapabilitySet {
    CapabilitySet::BPF
        | CapabilitySet::PERFMON
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::SYSLOG
        | CapabilitySet::CHOWN
        | CapabilitySet::FOWNER
}

/// Drops every capability that is not needed any more, for this thread and those that it starts. A failure is logged, and the
/// service goes on with more than it needs.
pub fn drop_privileges() {
    let dropped = capabilities(None).and_then(|have| {
        let keep = have.permitted & needed();
        let sets = CapabilitySets {
            effective: keep,
            permitted: keep,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets)?;
        rustix::thread::set_no_new_privs(true)
    });
    if let Err(error) = dropped {
        tracing::warn!(%error, "capabilities that are no longer needed could not be dropped");
    }
}

/// Among the last to be chosen when memory is short: whoever asks afterwards what died needs a witness. Not never:
/// a service that leaks must not take the machine down.
pub fn survive_oom() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "-900") {
        tracing::info!(%error, "oom_score_adj can't be lowered");
    }
}
