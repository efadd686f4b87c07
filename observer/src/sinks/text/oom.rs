//! An OOM kill.

use super::{
    exit::process,
    layout::{Lines, command, who},
};
use crate::{
    model::{OomEvent, Scope, human},
    sinks::style::Severity,
};

pub(super) fn lines(lines: &mut Lines<'_>, oom: &OomEvent) {
    let what = match (oom.scope, &oom.limit_cgroup, oom.limit_bytes) {
        (Some(Scope::Cgroup), Some(cgroup), Some(limit)) => {
            format!("OOM: {cgroup} is at its memory limit of {}", human::size(limit))
        }
        (Some(Scope::System), ..) => "OOM: the machine is out of memory".to_owned(),
        (Some(Scope::Cpuset), ..) => "OOM: the memory nodes of its cpuset are full".to_owned(),
        (Some(Scope::Mempolicy), ..) => "OOM: the memory nodes of its policy are full".to_owned(),
        _ => "OOM: chosen by the OOM killer".to_owned(),
    };
    lines.headline(&who(&oom.victim), &what, Severity::Bad);
    process(lines, &oom.victim);
    if let (Some(usage), Some(limit)) = (oom.usage_bytes, oom.limit_bytes) {
        lines.detail("limit", &format!("{} used of {}", human::size(usage), human::size(limit)));
    }
    let memory = &oom.memory;
    lines.detail(
        "victim",
        &format!(
            "{} of its own, {} of files, {} shared; oom_score_adj {}",
            human::size(memory.anon_rss_bytes),
            human::size(memory.file_rss_bytes),
            human::size(memory.shmem_rss_bytes),
            oom.oom_score_adj,
        ),
    );
    if oom.trigger.pid == oom.victim.pid {
        lines.detail("asked", "the victim itself asked for more");
    } else {
        let command = command(&oom.trigger).map(|c| format!(" ({c})")).unwrap_or_default();
        lines.detail(
            "asked",
            &format!(
                "{}{command} asked for more: it did not kill, the kernel did",
                who(&oom.trigger)
            ),
        );
    }
}
