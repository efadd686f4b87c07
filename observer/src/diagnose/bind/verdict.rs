//! The verdict: why the kernel refused.

use observer_common::socket::{
    STATE_CLOSE, STATE_CLOSE_WAIT, STATE_CLOSING, STATE_ESTABLISHED, STATE_FIN_WAIT1,
    STATE_FIN_WAIT2, STATE_LAST_ACK, STATE_TIME_WAIT,
};

use super::{EACCES, EADDRINUSE, EADDRNOTAVAIL, EINVAL, EPERM};
use crate::{
    decode::{Bind, Endpoint},
    diagnose::{
        exit::{seconds_between, who},
        ports::Past,
    },
    enrich::{
        conflict::{overlap, sharing},
        lookup::{Answer, PathFile},
    },
    model::{Cause, CauseType, Confidence, Errno, Holder, Relation, Socket, State, human},
};

/// Works out the cause of a refusal.
pub(super) fn cause(
    bind: &Bind,
    holders: &[Holder],
    answer: &Answer,
    past: Option<&Past>,
) -> Cause {
    match bind.record.result {
        EADDRINUSE => in_use(bind, holders, answer, past),
        EADDRNOTAVAIL => Cause::new(
            CauseType::AddressNotLocal,
            "no interface of this network namespace has that address".to_owned(),
            Confidence::Certain,
        )
        .because("the kernel answered EADDRNOTAVAIL")
        .with_remedy("bind to an address that `ip address` lists, or to 0.0.0.0 or [::]"),
        EACCES | EPERM => permission(bind, answer),
        EINVAL if bind.socket.0.port != 0 => Cause::new(
            CauseType::Unknown,
            format!("the socket is bound already, to port {}", bind.socket.0.port),
            Confidence::Likely,
        )
        .because("the kernel answered EINVAL for a socket that has a port"),
        result => {
            let errno = Errno::new(result);
            Cause::new(
                CauseType::Unknown,
                format!("the kernel answered {}", errno.name),
                Confidence::Possible,
            )
            .because(format!("errno {} ({}) tells no more", errno.errno, errno.name))
        }
    }
}

fn permission(bind: &Bind, answer: &Answer) -> Cause {
    let (summary, confidence, remedy) = match (&bind.asked, answer.unprivileged_port) {
        (Endpoint::Inet(_, port), Some(first)) if *port < first => (
            format!("ports below {first} need CAP_NET_BIND_SERVICE, which this process lacks"),
            Confidence::Certain,
            "give the service AmbientCapabilities=CAP_NET_BIND_SERVICE, or let it use a higher port",
        ),
        (Endpoint::Path(_), _) => (
            "the process may not create a file in that folder".to_owned(),
            Confidence::Likely,
            "give its user write access to the folder, or use a RuntimeDirectory",
        ),
        _ => (
            "a security policy (SELinux, AppArmor, a cgroup's BPF program) forbids it".to_owned(),
            Confidence::Possible,
            "look into the kernel's log for what denied it",
        ),
    };
    let errno = Errno::new(bind.record.result);
    Cause::new(CauseType::Permission, summary, confidence)
        .because(format!("the kernel answered {}", errno.name))
        .with_remedy(remedy)
}

fn in_use(bind: &Bind, holders: &[Holder], answer: &Answer, past: Option<&Past>) -> Cause {
    let mut cause = match (holders.first(), &bind.asked) {
        (Some(first), _) if first.fd.is_none() => gone(first, past, bind),
        (Some(first), _) => held(bind, first, holders, answer),
        (None, Endpoint::Path(_)) => nobody_at_path(answer, past),
        (None, _) => nobody(bind, answer, past),
    };
    let inet = matches!(bind.asked, Endpoint::Inet(..));
    for (pid, comm) in answer.zombies.iter().filter(|_| inet) {
        cause
            .evidence
            .push(format!("{comm} {pid} is a zombie: it holds no port, nobody has reaped it yet"));
    }
    cause
}

fn held(bind: &Bind, first: &Holder, holders: &[Holder], answer: &Answer) -> Cause {
    let state = first.socket.state;
    // The event names the socket that was asked for: what is held is named when it is another one.
    let asked = Socket::new(&bind.socket, &bind.asked).name();
    let name = Some(first.socket.name()).filter(|name| *name != asked);
    let name = name.as_deref().unwrap_or("it");
    let who_holds = who(&first.process);
    let (cause_type, summary) = match state {
        Some(State::Bound) => (
            CauseType::BoundNotListening,
            format!("{who_holds} has bound {name} but does not listen"),
        ),
        Some(
            State::FinWait1 | State::FinWait2 | State::CloseWait | State::LastAck | State::Closing,
        ) => (
            CauseType::Closing,
            format!("{who_holds} has a connection on {name} that is not fully closed"),
        ),
        Some(State::Established) => {
            (CauseType::Held, format!("{who_holds} has an open connection on {name}"))
        }
        _ => (CauseType::Held, format!("{who_holds} serves {name}")),
    };
    let mut cause = Cause::new(cause_type, summary, Confidence::Certain);
    cause =
        cause.because(format!("one pass over all descriptors found {} in the way", count(holders)));
    let others = pids(holders).len() - 1;
    if others > 0 {
        cause.summary.push_str(&format!(", and {others} more"));
    }
    if let Some(found) = answer.held.first() {
        cause.evidence.extend(overlap(&bind.asked, &found.socket.endpoint()));
        cause.evidence.extend(sharing(&bind.socket, &found.socket));
    }
    cause.with_remedy(&remedy(first, holders))
}

fn count(holders: &[Holder]) -> String {
    match pids(holders).len() {
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    }
}

/// The holders' process ids, each once: a process may hold a listener and its connections.
fn pids(holders: &[Holder]) -> Vec<String> {
    let mut pids: Vec<u32> = holders.iter().map(|holder| holder.process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().map(|pid| pid.to_string()).collect()
}

/// What would free the port: never "kill the worker" where somebody else would hand it a new one.
fn remedy(first: &Holder, holders: &[Holder]) -> String {
    let named = |relation| holders.iter().find(|h| h.relation == relation);
    let unit = |holder: &Holder| holder.process.unit.clone().filter(|u| u.ends_with(".service"));
    if named(Relation::Myself).is_some() {
        return "the process holds it itself: it binds twice".to_owned();
    }
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
    if let Some(parent) = named(Relation::Parent).filter(|_| pids(holders).len() > 1) {
        return format!(
            "its parent {} owns the socket and its workers share it: restart that",
            who(&parent.process)
        );
    }
    let pids = pids(holders);
    match unit(first) {
        Some(unit) if first.relation != Relation::Orphan => {
            format!("stop {unit}, or give one of the two another port")
        }
        _ if pids.len() > 1 => {
            format!("all of {} must end: each holds a socket in the way", pids.join(", "))
        }
        _ if first.relation == Relation::Orphan => {
            format!("end {}, which its dead parent left behind", who(&first.process))
        }
        _ => format!("end {}, or give one of the two another port", who(&first.process)),
    }
}

fn nobody_at_path(answer: &Answer, past: Option<&Past>) -> Cause {
    match &answer.file {
        Some(PathFile::Socket(_, uid, made)) => Cause::new(
            CauseType::StaleSocketFile,
            "the socket file is there, but no process serves it".to_owned(),
            Confidence::Certain,
        )
        .because("no process has a socket that is bound to this file")
        .because(match made {
            Some(made) => format!("it belongs to user {uid} and was made at {made:.0}"),
            None => format!("it belongs to user {uid}"),
        })
        .with_remedy("remove the file; a server should unlink it before it binds")
        .left_by(past),
        Some(PathFile::Other) => Cause::new(
            CauseType::Unknown,
            "a file that is no socket lies at that path".to_owned(),
            Confidence::Certain,
        )
        .because("the path names a file that is no socket")
        .with_remedy("move the file away, or use another path"),
        Some(PathFile::Gone) => Cause::new(
            CauseType::Unknown,
            "something was at that path, and is gone by now".to_owned(),
            Confidence::Possible,
        )
        .because("the path does not exist any more")
        .left_by(past),
        _ => Cause::new(
            CauseType::Unknown,
            "what lies at that path could not be looked at".to_owned(),
            Confidence::Possible,
        )
        .because("the process was gone before its folder could be read"),
    }
}

fn nobody(bind: &Bind, answer: &Answer, past: Option<&Past>) -> Cause {
    let Some(rows) = &answer.connections else {
        return unexplained(past)
            .because("the connections of its network namespace could not be looked at");
    };
    let waiting = rows.iter().filter(|row| row.state == STATE_TIME_WAIT);
    let open = rows.iter().filter(|row| {
        matches!(
            row.state,
            STATE_FIN_WAIT1
                | STATE_FIN_WAIT2
                | STATE_CLOSE_WAIT
                | STATE_LAST_ACK
                | STATE_CLOSING
                | STATE_ESTABLISHED
                | STATE_CLOSE
        )
    });
    let (waiting_count, open_count) = (waiting.clone().count(), open.count());
    let cause = if open_count > 0 {
        let mut cause = Cause::new(
            CauseType::Closing,
            format!(
                "nobody serves it; {open_count} connections of a former server are not fully closed"
            ),
            Confidence::Certain,
        )
        .because(format!("{open_count} connections on this port belong to no process any more"))
        .with_remedy("wait, or set SO_REUSEADDR before bind");
        cause.connections = Some(open_count as u64);
        cause
    } else if waiting_count > 0 {
        let last = waiting.map(|row| row.timer_seconds).fold(0.0, f64::max);
        let mut cause = Cause::new(
            CauseType::TimeWait,
            format!("nobody serves it; {waiting_count} closed connections wait in TIME_WAIT, at most {} more", human::span(last)),
            Confidence::Certain,
        )
        .because(format!("{waiting_count} connections on this port are in TIME_WAIT, and no socket is in the way"))
        .with_remedy(&if bind.socket.reuseaddr() {
            format!("wait {}: the former server should have set SO_REUSEADDR too", human::span(last))
        } else {
            "set SO_REUSEADDR before bind, as servers should, or wait".to_owned()
        });
        cause.connections = Some(waiting_count as u64);
        cause.free_in_seconds = Some(last);
        cause
    } else {
        return unexplained(past);
    };
    cause.left_by(past)
}

/// Somebody then, nobody now: the table remembers who.
fn gone(holder: &Holder, past: Option<&Past>, bind: &Bind) -> Cause {
    let who_held = who(&holder.process);
    let name = holder.socket.name();
    let myself = holder.relation == Relation::Myself;
    let summary = match myself {
        true => format!("it served {name} itself, and has ended since"),
        false => format!("{who_held} served {name} then, and is gone by now"),
    };
    let mut cause = Cause::new(CauseType::Held, summary, Confidence::Likely);
    if let Some(past) = past {
        let later = human::span(seconds_between(bind.time_ns, past.until_ns));
        cause = cause.because(format!("{who_held} gave the port up {later} after the refusal"));
    }
    cause.with_remedy(if myself {
        "the process holds it itself: it binds twice"
    } else {
        "try again: the port is free"
    })
}

/// Nothing was found in the way.
fn unexplained(past: Option<&Past>) -> Cause {
    Cause::new(CauseType::Unknown, "nobody is in the way by now".to_owned(), Confidence::Possible)
        .because("neither a process nor a connection on this port was found after the refusal")
        .left_by(past)
}

impl Cause {
    /// Names who served before.
    fn left_by(mut self, past: Option<&Past>) -> Self {
        if let Some(past) = past {
            self.evidence.push(format!("{} served it before", who(&past.process)));
            self.left_by = Some(Box::new(past.process.clone()));
        }
        self
    }
}
