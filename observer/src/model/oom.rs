//! Kind `oom`: the kernel's OOM killer chose a victim.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Missing, Process};

/// The kernel's OOM killer chose a victim.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OomEvent {
    /// Who was killed.
    pub victim: Process,
    /// The process whose allocation failed: a bystander, not the killer.
    pub trigger: Process,
    /// It was not the chosen one, but killed with it: their cgroup has memory.oom.group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
    /// Whose memory was short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The cgroup whose limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_cgroup: Option<String>,
    /// That limit; the machine's memory and swap if the machine ran out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Usage at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// The victim's memory.
    pub memory: Memory,
    /// The victim's `oom_score_adj`: -1000 to 1000, higher is chosen sooner.
    pub oom_score_adj: i32,
    /// One sentence for a person.
    pub summary: String,
    /// Why a key is not here.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub missing: Missing,
}

/// Whose memory was short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A memory cgroup reached its limit.
    Cgroup,
    /// The machine ran out of memory.
    System,
    /// The memory nodes of a cpuset were full.
    Cpuset,
    /// The memory nodes of a memory policy were full.
    Mempolicy,
}

/// A process's memory when it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Address space.
    pub total_vm_bytes: u64,
    /// Resident anonymous memory.
    pub anon_rss_bytes: u64,
    /// Resident pages of files.
    pub file_rss_bytes: u64,
    /// Resident shared memory.
    pub shmem_rss_bytes: u64,
    /// Page tables.
    pub page_table_bytes: u64,
}
