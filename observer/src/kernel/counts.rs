//! Reads the kernel's counters of the loaded programs: records lost, runs skipped, time spent.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::maps::{MapData, PerCpuArray};
use observer_common::loss::SLOTS;

use super::Kernel;

/// CPU cost of a program.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// The program.
    pub program: String,
    /// Where it is attached.
    pub hook: String,
    /// How often it ran, if the kernel counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// Total run time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nanoseconds: Option<u64>,
}

/// A count for each slot of `observer_common::loss`.
pub type Lost = [u64; SLOTS as usize];

impl Kernel {
    /// Records that the programs could not deliver so far, a count for each slot.
    pub fn lost(&self) -> Result<Lost> {
        sum(&self.lost)
    }

    /// Upper bound of the events of each kind that skipped programs missed. The kernel skips a program while another thread is
    /// preempted inside it, and counts that (`recursion_misses`). A death is lost only if every exit program was skipped.
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

    /// The kernel's figures of a program (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
    fn program_info(&self, program: &str) -> Option<String> {
        let fd = self.ebpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
        std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()
    }

    /// CPU cost of each attached program so far; the kernel counts only with `kernel.bpf_stats_enabled`.
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

/// The counts of all processors.
pub(super) fn sum(of_all: &PerCpuArray<MapData, Lost>) -> Result<Lost> {
    let mut lost = [0; SLOTS as usize];
    for of_one_cpu in of_all.get(&0, 0).context("LOST")?.iter() {
        for (sum, count) in lost.iter_mut().zip(of_one_cpu) {
            *sum += count;
        }
    }
    Ok(lost)
}

fn number(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}
