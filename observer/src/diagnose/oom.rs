//! Whose memory was short, by how much, and what that means for a death.

use observer_common::oom::{LEVEL_UNKNOWN, MemoryLevel};

use super::exit::Facts;
use crate::{
    decode::Oom,
    model::{
        Cause, CauseType, Confidence, Memory, Missing, OomEvent, Process, Scope, cgroup,
        human::{self, who},
        lossy,
    },
};

/// What a death needs to know of the OOM kill it belongs to.
#[derive(Clone, Debug)]
pub struct Join {
    /// `seq` of the `oom` event.
    pub seq: u64,
    /// Process id of the chosen victim.
    pub victim: u32,
    /// Whose memory was short.
    pub scope: Option<Scope>,
    /// The cgroup whose limit was hit.
    pub limit_cgroup: Option<String>,
    /// That limit.
    pub limit_bytes: Option<u64>,
}

/// A counter has no limit above this many pages (`PAGE_COUNTER_MAX` is `LONG_MAX / PAGE_SIZE`).
const UNLIMITED: u64 = 1 << 50;

/// What is charged ahead on each CPU (`MEMCG_CHARGE_BATCH`): a counter this close to its limit is at it.
const BATCH: u64 = 64;

/// What the machine adds to the record.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Bytes a page.
    pub page_bytes: u64,
    /// The memory controller is of cgroup v1: swap is limited together with memory.
    pub memory_v1: bool,
    /// Memory and swap of the machine.
    pub memory_bytes: u64,
    /// Names of the functions on the kernel stack.
    pub callers: &'a [Option<String>],
}

/// The event of an OOM kill.
#[must_use]
pub fn event(oom: &Oom, victim: Process, trigger: Process, around: Surroundings<'_>) -> OomEvent {
    // A capture may say anything.
    let bytes = |pages: u64| pages.saturating_mul(around.page_bytes);
    let mut missing = Missing::new();
    let scope = scope(oom, around.callers);
    let (mut limit_cgroup, mut limit_bytes, mut usage_bytes) = (None, None, None);
    match scope {
        Some(Scope::Cgroup) => {
            if let Some(limit) = limit(oom, around.memory_v1) {
                limit_cgroup = Some(above(&oom.victim_memory, limit.level));
                limit_bytes = Some(bytes(limit.max));
                usage_bytes = Some(bytes(limit.usage));
            } else {
                for key in ["limit_cgroup", "limit_bytes", "usage_bytes"] {
                    let why = "no cgroup above the victim has a memory limit that could be read";
                    missing.insert(key.into(), why.into());
                }
            }
        }
        Some(_) => {
            let total = bytes(oom.record.total_pages);
            limit_bytes = Some(if total > 0 { total } else { around.memory_bytes });
            let why = "the kernel reports no usage for the whole machine";
            missing.insert("usage_bytes".into(), why.into());
        }
        None => {
            let why = "neither oom_control nor the kernel stack shows whose memory was short";
            for key in ["scope", "limit_cgroup", "limit_bytes", "usage_bytes"] {
                missing.insert(key.into(), why.into());
            }
        }
    }
    let memory = Memory {
        total_vm_bytes: bytes(oom.record.total_vm),
        anon_rss_bytes: bytes(oom.record.anon_rss),
        file_rss_bytes: bytes(oom.record.file_rss),
        shmem_rss_bytes: bytes(oom.record.shmem_rss),
        page_table_bytes: oom.record.page_tables,
    };
    let resident = [memory.file_rss_bytes, memory.shmem_rss_bytes]
        .into_iter()
        .fold(memory.anon_rss_bytes, u64::saturating_add);
    let group = called(around.callers, "oom_kill_memcg_member");
    let (how, along) = if group { ("killed", " along with its cgroup") } else { ("chose", "") };
    let summary = format!(
        "the kernel's OOM killer {how} {} ({} resident){along}: {}",
        who(&victim),
        human::size(resident),
        reason(scope, limit_cgroup.as_deref(), limit_bytes),
    );
    OomEvent {
        victim,
        trigger,
        group,
        scope,
        limit_cgroup,
        limit_bytes,
        usage_bytes,
        memory,
        oom_score_adj: oom.record.oom_score_adj,
        summary,
        missing,
    }
}

/// The cause of a death by the OOM killer.
#[must_use]
pub fn death(facts: Facts<'_>) -> Cause {
    let Some(join) = facts.oom else {
        let mut cause = Cause::new(
            CauseType::OomKill,
            "killed by the kernel's OOM killer".to_owned(),
            Confidence::Certain,
        )
        .because("the OOM killer had marked this process as its victim (signal->oom_mm)");
        cause.missing.insert("oom_seq".into(), "the record of the OOM kill was not seen".into());
        return cause;
    };
    let what = reason(join.scope, join.limit_cgroup.as_deref(), join.limit_bytes);
    let pid = facts.exit.task.record.tgid;
    let mut cause = Cause::new(
        CauseType::OomKill,
        format!("killed by the kernel's OOM killer: {what}"),
        Confidence::Certain,
    )
    .because(format!("the kernel chose victim {}", join.victim));
    if pid != join.victim {
        cause = cause.because(format!(
            "the kernel killed it along with {}, which shares its memory",
            join.victim
        ));
    }
    cause.oom_seq = Some(join.seq);
    cause.limit_cgroup.clone_from(&join.limit_cgroup);
    cause.limit_bytes = join.limit_bytes;
    cause.remedy = remedy(join);
    cause
}

/// How to raise a limit that systemd sets; what keeps a process from growing, nobody but its owner knows.
fn remedy(join: &Join) -> Option<String> {
    let cgroup = join.limit_cgroup.as_deref()?;
    let unit = cgroup.rsplit('/').next()?;
    let known = [".service", ".slice", ".scope"].iter().any(|kind| unit.ends_with(kind));
    // People paste commands: the name of a cgroup, which its creator chose, must be nothing but a name to a shell.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:@-".contains(c);
    let safe = !unit.starts_with('-') && unit.chars().all(plain);
    // Units of a user's own manager are another manager's.
    let own_manager = cgroup.contains("/user@");
    (known && safe && !own_manager).then(|| {
        format!("raise the limit (`systemctl set-property {unit} MemoryMax=…`) or find what uses the memory")
    })
}

fn reason(scope: Option<Scope>, cgroup: Option<&str>, limit: Option<u64>) -> String {
    match (scope, cgroup, limit) {
        (Some(Scope::Cgroup), Some(cgroup), Some(limit)) => {
            format!("{} reached its memory limit of {}", cgroup::short(cgroup), human::size(limit))
        }
        (Some(Scope::Cgroup), ..) => "a cgroup reached its memory limit".to_owned(),
        (Some(Scope::System), _, Some(limit)) => {
            format!("the machine ran out of memory ({} with swap)", human::size(limit))
        }
        (Some(Scope::Cpuset), ..) => "the memory nodes of its cpuset were full".to_owned(),
        (Some(Scope::Mempolicy), ..) => {
            "the memory nodes of its memory policy were full".to_owned()
        }
        _ => "memory was short".to_owned(),
    }
}

/// `enum oom_constraint` (include/linux/oom.h), else the functions that led here.
fn scope(oom: &Oom, callers: &[Option<String>]) -> Option<Scope> {
    match oom.record.constraint {
        0 => return Some(Scope::System),
        1 => return Some(Scope::Cpuset),
        2 => return Some(Scope::Mempolicy),
        3 => return Some(Scope::Cgroup),
        _ => {}
    }
    if called(callers, "mem_cgroup_out_of_memory") {
        Some(Scope::Cgroup)
    } else if called(callers, "__alloc_pages") || called(callers, "out_of_memory") {
        Some(Scope::System)
    } else {
        None
    }
}

/// Compilers append to the names of functions that they split.
fn called(callers: &[Option<String>], name: &str) -> bool {
    callers.iter().flatten().any(|caller| caller.starts_with(name))
}

/// A level whose limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    level: usize,
    usage: u64,
    max: u64,
}

/// The limit owner. `oom_control` names it where it could be read. Else the lowest level that the trigger lies under too
/// and that has no room left: a charge goes up from the asking cgroup and stops at the first level without room
/// (`page_counter_try_charge`, mm/page_counter.c).
fn limit(oom: &Oom, memory_v1: bool) -> Option<Limit> {
    let levels = oom.levels();
    let at = |index: usize| levels.get(index).map(|level| tightest(index, level, memory_v1));
    if oom.record.limit_level != LEVEL_UNKNOWN {
        return at(oom.record.limit_level as usize);
    }
    let limits: Vec<Limit> = (0..levels.len())
        .filter(|index| is_under(&oom.trigger_memory, &above_bytes(&oom.victim_memory, *index)))
        .filter_map(at)
        .filter(|limit| limit.max < UNLIMITED)
        .collect();
    let room = |limit: &Limit| limit.max.saturating_sub(limit.usage);
    limits
        .iter()
        .find(|limit| room(limit) < BATCH)
        .or_else(|| limits.iter().min_by_key(|limit| room(limit)))
        .copied()
}

/// Of a v1 level's two limits, the one with less room.
fn tightest(index: usize, level: &MemoryLevel, memory_v1: bool) -> Limit {
    let memory = Limit { level: index, usage: level.usage, max: level.max };
    let with_swap = Limit { level: index, usage: level.memsw_usage, max: level.memsw_max };
    let room = |limit: &Limit| limit.max.saturating_sub(limit.usage);
    if memory_v1 && with_swap.max > 0 && room(&with_swap) < room(&memory) {
        with_swap
    } else {
        memory
    }
}

fn is_under(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor == b"/"
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn above_bytes(path: &[u8], levels: usize) -> Vec<u8> {
    let mut path = path;
    for _ in 0..levels {
        let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        path = &path[..end];
    }
    if path.is_empty() { b"/".to_vec() } else { path.to_vec() }
}

fn above(path: &[u8], levels: usize) -> String {
    lossy(&above_bytes(path, levels))
}

#[cfg(test)]
mod tests;
