//! What would free the port: never "kill the worker" where its parent would start a new one.

use crate::{
    decode::Endpoint,
    model::{Holder, Relation, human::who},
};

/// The holders' process ids, each once: a process may hold a listener and its connections.
pub(super) fn pids(holders: &[Holder]) -> Vec<String> {
    let mut pids: Vec<u32> = holders.iter().map(|holder| holder.process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().map(|pid| pid.to_string()).collect()
}

/// What to do, in one sentence.
pub(super) fn remedy(
    asked: &Endpoint,
    first: &Holder,
    holders: &[Holder],
    processes: u64,
) -> String {
    let place = if matches!(asked, Endpoint::Inet(..)) { "port" } else { "path" };
    let named = |relation| holders.iter().find(|h| h.relation == relation);
    let unit = |holder: &Holder| {
        let unit = holder.process.unit.clone().filter(|unit| unit.ends_with(".service"));
        // To stop a user's manager would end all that he runs.
        unit.filter(|unit| !unit.starts_with("user@"))
    };
    if let Some(systemd) = named(Relation::SocketActivation) {
        return format!(
            "systemd ({}) holds it for a socket unit: stop that unit (`systemctl list-sockets`), not the service",
            systemd.process.pid
        );
    }
    if let Some(proxy) = named(Relation::ContainerProxy) {
        return format!(
            "{} forwards it into a container: stop the container that publishes it",
            who(&proxy.process)
        );
    }
    let pids = pids(holders);
    if let Some(parent) = named(Relation::Parent) {
        return format!(
            "its parent {} already holds it: inherit the socket from there, or use another {place}",
            who(&parent.process)
        );
    }
    if named(Relation::Myself).is_some() {
        return "the process already holds it: it binds twice".to_owned();
    }
    let mut owners = holders.iter().filter(|holder| holder.inherited != Some(true));
    match (unit(first), owners.next(), owners.next()) {
        (Some(unit), ..) if first.relation != Relation::Orphan => {
            format!("stop {unit}, or give one of the two another {place}")
        }
        (_, Some(owner), None) if pids.len() > 1 => {
            format!(
                "end {}: the others have the socket from it; ending one of them does not free it",
                who(&owner.process)
            )
        }
        _ if pids.len() > 1 => {
            let more = processes.saturating_sub(pids.len() as u64);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("all of {}{more} must end: each holds a conflicting socket", pids.join(", "))
        }
        _ if first.relation == Relation::Orphan => {
            format!("end {}, which its dead parent left behind", who(&first.process))
        }
        _ => format!("end {}, or give one of the two another {place}", who(&first.process)),
    }
}
