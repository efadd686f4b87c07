//! What the kernel counts of the loaded programs.

use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};
use observer_common::loss::SLOTS;

use super::{Kernel, hooks};

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

    /// How many deaths every exit program was skipped for, at most: the kernel counts them for each program
    /// (`recursion_misses`), and a death is lost only when all of them were.
    #[must_use]
    pub fn skipped_exits(&self) -> u64 {
        self.attached
            .iter()
            .filter(|a| a.refused.is_none() && hooks::DEATHS.contains(&a.hook.program))
            .filter_map(|a| self.recursion_misses(a.hook.program))
            .min()
            .unwrap_or(0)
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
