//! An OOM kill.

use super::layout::{Lines, command, who};
use crate::{
    format::style::Severity,
    model::{OomEvent, Scope, cgroup as cgroup_name, human},
};

pub(super) fn lines(lines: &mut Lines<'_>, oom: &OomEvent) {
    let what = match (oom.scope, &oom.limit_cgroup, oom.limit_bytes) {
        (Some(Scope::Cgroup), Some(cgroup), Some(limit)) => {
            format!(
                "OOM: {} reached its memory limit of {}",
                cgroup_name::short(cgroup),
                human::size(limit)
            )
        }
        (Some(Scope::System), ..) => "OOM: the machine ran out of memory".to_owned(),
        (Some(Scope::Cpuset), ..) => "OOM: the memory nodes of its cpuset were full".to_owned(),
        (Some(Scope::Mempolicy), ..) => {
            "OOM: the memory nodes of its memory policy were full".to_owned()
        }
        _ => "OOM: the kernel's OOM killer chose it".to_owned(),
    };
    let what = if oom.group { format!("{what}; the kernel kills its whole cgroup") } else { what };
    lines.headline(&who(&oom.victim), &what, Severity::Bad);
    if let (Some(usage), Some(limit)) = (oom.usage_bytes, oom.limit_bytes) {
        let (usage, limit) = (human::size(usage), human::size(limit));
        if usage != limit {
            lines.detail("limit", &format!("{usage} used of {limit}"));
        }
    }
    lines.detail("memory", &memory(oom));
    // Its command line and its end follow with its death.
    if oom.trigger.pid == oom.victim.pid {
        lines.detail("asked", "it asked for more memory itself");
    } else {
        let command = command(&oom.trigger).map(|c| format!(" ({c})")).unwrap_or_default();
        let who = who(&oom.trigger);
        lines.detail(
            "asked",
            &format!("{who}{command} asked for more memory; it did not kill, the kernel did"),
        );
    }
}

/// What the victim had, the parts that matter.
fn memory(oom: &OomEvent) -> String {
    let memory = &oom.memory;
    let mut parts = vec![format!("{} anonymous", human::size(memory.anon_rss_bytes))];
    for (bytes, what) in [
        (memory.file_rss_bytes, "file-backed"),
        (memory.shmem_rss_bytes, "shared"),
        (memory.page_table_bytes, "page tables"),
    ] {
        if bytes >= 1 << 20 {
            parts.push(format!("{} {what}", human::size(bytes)));
        }
    }
    let mut text = parts.join(", ");
    match oom.oom_score_adj {
        0 => {}
        score => text.push_str(&format!(
            "; oom_score_adj {score} makes it {} likely to be chosen",
            if score > 0 { "more" } else { "less" }
        )),
    }
    text
}
