//! What the kernel counts of the loaded programs.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use observer_common::loss::SLOTS;

use super::Kernel;

/// What a program cost.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// The program.
    pub program: String,
    /// Where it is attached.
    pub hook: String,
    /// How often it ran, where the kernel counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// How long in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nanoseconds: Option<u64>,
}

/// A count for each slot of `observer_common::loss`.
pub type Lost = [u64; SLOTS as usize];

impl Kernel {
    /// What each program could not deliver so far.
    pub fn lost(&self) -> Result<Lost> {
        let mut lost = [0; SLOTS as usize];
        for of_one_cpu in self.lost.get(&0, 0).context("LOST")?.iter() {
            for (sum, count) in lost.iter_mut().zip(of_one_cpu) {
                *sum += count;
            }
        }
        Ok(lost)
    }

    /// How many events of each kind programs were skipped for, at most: the kernel counts for each program how often another
    /// thread was preempted inside it (`recursion_misses`). A death is lost only when all exit programs were skipped.
    #[must_use]
    pub fn skipped(&self) -> BTreeMap<&'static str, u64> {
        let mut skipped = BTreeMap::new();
        for attached in self.attached.iter().filter(|attached| attached.refused.is_none()) {
            let Some(kind) = attached.hook.loses() else { continue };
            let Some(misses) = self.recursion_misses(attached.hook.program) else { continue };
            let of_kind = skipped.entry(kind);
            if kind == "exit" {
                of_kind.and_modify(|least: &mut u64| *least = misses.min(*least)).or_insert(misses);
            } else {
                *of_kind.or_insert(0) += misses;
            }
        }
        skipped
    }

    fn recursion_misses(&self, program: &str) -> Option<u64> {
        number(&self.program_info(program)?, "recursion_misses:")
    }

    /// What the kernel tells of a program (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
    fn program_info(&self, program: &str) -> Option<String> {
        let fd = self.ebpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
        std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()
    }

    /// What each attached program cost so far; without `kernel.bpf_stats_enabled` the kernel does not count.
    #[must_use]
    pub fn costs(&self) -> Vec<Cost> {
        let attached = self.attached.iter().filter(|attached| attached.refused.is_none());
        attached
            .map(|attached| {
                let info = self.program_info(attached.hook.program).unwrap_or_default();
                let counted = |name| number(&info, name).filter(|n| *n > 0);
                Cost {
                    program: attached.hook.program.to_owned(),
                    hook: attached.hook.attach.to_string(),
                    runs: counted("run_cnt:"),
                    nanoseconds: counted("run_time_ns:"),
                }
            })
            .collect()
    }
}

fn number(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}
