//! What a holder is to the process that was refused.

use observer_common::task::TASK_FORKED;

use super::daemon::runs_installed;
use crate::{
    decode::{Descriptor, TaskId},
    enrich::procfs::Living,
    model::{Process, Relation},
};

/// What is known of one holder.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its descriptor.
    pub holder: &'a Descriptor,
    /// As `/proc` shows it.
    pub living: Option<&'a Living>,
    /// As a reader sees it.
    pub process: &'a Process,
    /// Who opened the socket, and who was its parent then, when that was seen.
    pub opener: Option<(TaskId, u32)>,
    /// Another holder of the same socket is its parent.
    pub parent_holds: bool,
    /// Another holder of the same socket is its child.
    pub children_hold: bool,
    /// Whoever opened the socket still holds it.
    pub opener_holds: bool,
}

/// Programs that hold a port of the host for a container behind it.
const PROXIES: [&str; 6] =
    ["docker-proxy", "rootlessport", "slirp4netns", "pasta", "passt", "containers-rootlessport"];

/// Names the relation: the closest one counts.
#[must_use]
pub fn relation(asker: &Process, holder: &Candidate<'_>) -> Relation {
    let pid = holder.process.pid;
    let ppid = holder.process.ppid.unwrap_or(holder.holder.record.ppid);
    let unit = |p: &Process| service(p);
    if pid == asker.pid {
        Relation::Myself
    } else if is_service_manager(holder.process) {
        Relation::SocketActivation
    } else if runs_installed(holder.process, &PROXIES) {
        Relation::ContainerProxy
    } else if asker.ppid == Some(pid) {
        Relation::Parent
    } else if ppid == asker.pid {
        Relation::Child
    } else if is_orphan(holder, ppid) {
        Relation::Orphan
    } else if unit(asker).is_some() && unit(asker) == unit(holder.process) {
        Relation::SameUnit
    } else if asker.ppid == Some(ppid) && ppid > 1 {
        Relation::Sibling
    } else {
        Relation::Stranger
    }
}

/// Its service, where it has one. A user's manager is none: it has all that the user runs.
fn service(process: &Process) -> Option<String> {
    let unit = process.whole_unit().filter(|unit| unit.ends_with(".service"))?;
    let manager = unit.starts_with("user@") && process.user_unit.is_none();
    (!manager).then(|| unit.into_owned())
}

/// What a process that is gone was to the one that was refused, as far as the two process objects show.
#[must_use]
pub fn of_past(asker: &Process, past: &Process) -> Relation {
    if past.pid == asker.pid && past.start_time == asker.start_time {
        Relation::Myself
    } else if asker.ppid == Some(past.pid) {
        Relation::Parent
    } else if past.ppid == Some(asker.pid) {
        Relation::Child
    } else if service(asker).is_some() && service(asker) == service(past) {
        Relation::SameUnit
    } else if asker.ppid == past.ppid && asker.ppid > Some(1) {
        Relation::Sibling
    } else {
        Relation::Stranger
    }
}

/// Whether the holder did not open the socket itself; `None` when nothing shows it.
#[must_use]
pub fn inherited(holder: &Candidate<'_>) -> Option<bool> {
    match holder.opener {
        _ if holder.parent_holds => Some(true),
        Some((opener, _)) if opener == holder.holder.id() => Some(false),
        // A cluster's primary binds, and its workers call listen on what they were handed: who opened it was not seen.
        Some(_) if holder.children_hold => None,
        Some(_) => Some(true),
        None => None,
    }
}

/// Its parent is dead: it was handed over to the first process, or to a reaper, and it is no daemon of its own, which
/// would lead its session.
fn is_orphan(holder: &Candidate<'_>, ppid: u32) -> bool {
    let id = holder.holder.id();
    if let Some((opener, parent_then)) = holder.opener
        && opener == id
    {
        // A daemon that was adopted before it opened the socket has nobody who left it behind.
        return parent_then != ppid;
    }
    let leads = holder.living.is_some_and(|living| living.session == holder.holder.record.tgid);
    let forked = holder.holder.record.flags & TASK_FORKED != 0;
    let adopted = ppid == 1 && !leads && (forked || holder.living.is_some());
    // A reaper other than the first process may have taken it: whoever opened the socket is its parent no longer.
    let opener_gone = holder.opener.is_some_and(|(opener, _)| opener != id && opener.tgid != ppid)
        && !holder.opener_holds
        && !holder.children_hold;
    !holder.parent_holds && (adopted || opener_gone)
}

fn is_service_manager(process: &Process) -> bool {
    runs_installed(process, &["systemd"])
}
