//! The verdict: why the kernel refused.

use std::borrow::Cow;

use observer_common::socket::{CALL_BIND, CALL_LISTEN, STATE_CLOSE};

use super::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EINVAL, EPERM,
    remedy::{pids, remedy},
    unowned::{no_port_left, unowned, unowned_path},
};
use crate::{
    decode::{Bind, Endpoint},
    diagnose::{
        answer::Answer,
        conflict::{overlap, sharing},
        exit::seconds_between,
        ports::FormerServer,
    },
    enrich::{self, path_file::PathFile},
    model::{
        Cause, CauseType, Confidence, Errno, Holder, Relation, SocketState,
        human::{self, who},
    },
};

/// Works out the cause of a refusal.
pub(super) fn cause(
    bind: &Bind,
    holders: &[Holder],
    answer: &Answer,
    past: Option<&FormerServer>,
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
        EACCES | EPERM => permission(bind),
        EINVAL if bind.record.call == CALL_LISTEN && bind.socket.0.state != STATE_CLOSE => {
            Cause::new(
                CauseType::Unknown,
                "the socket is a connection already".to_owned(),
                Confidence::Likely,
            )
            .because(format!(
                "the kernel answered EINVAL for a socket in state {}",
                bind.socket.0.state
            ))
        }
        EINVAL if bind.record.call == CALL_BIND && bind.socket.0.port != 0 => Cause::new(
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
            .because(format!("errno {} ({}): observer has no rule for it", errno.errno, errno.name))
        }
    }
}

fn permission(bind: &Bind) -> Cause {
    let (summary, confidence, remedy) = match (&bind.asked, bind.socket.0.unprivileged_port) {
        (Endpoint::Inet(_, port), first) if u32::from(*port) < first => (
            format!("ports below {first} need CAP_NET_BIND_SERVICE, which this process lacks"),
            Confidence::Certain,
            "give the service AmbientCapabilities=CAP_NET_BIND_SERVICE, or let it use a higher port",
        ),
        (Endpoint::Inet(..), 0) => (
            "its network namespace reserves this port for CAP_NET_BIND_SERVICE, or a security policy forbids it".to_owned(),
            Confidence::Possible,
            "check net.ipv4.ip_unprivileged_port_start in that namespace, and the kernel log",
        ),
        (Endpoint::Path(_), _) => (
            "the process may not create a file in that folder".to_owned(),
            Confidence::Likely,
            "give its user write access to the folder, or use a RuntimeDirectory",
        ),
        _ => (
            "a security policy (SELinux, AppArmor, a cgroup's BPF program) forbids it".to_owned(),
            Confidence::Possible,
            "check the kernel log for what denied it",
        ),
    };
    let errno = Errno::new(bind.record.result);
    Cause::new(CauseType::Permission, summary, confidence)
        .because(format!("the kernel answered {}", errno.name))
        .with_remedy(remedy)
}

fn in_use(bind: &Bind, holders: &[Holder], answer: &Answer, past: Option<&FormerServer>) -> Cause {
    let mut cause = match (holders.first(), &bind.asked) {
        (Some(first), _) if first.fd.is_none() && answer.unowned_listener().is_none() => {
            gone(first, past, bind, answer)
        }
        (Some(first), _) if first.fd.is_none() => unowned(bind, answer, past),
        (Some(first), _) => held(bind, first, holders, answer),
        (None, Endpoint::Path(_)) => unowned_path(bind, answer, past),
        (None, Endpoint::Inet(_, 0)) => no_port_left(answer),
        (None, _) => unowned(bind, answer, past),
    };
    let inet = matches!(bind.asked, Endpoint::Inet(..));
    for (pid, comm) in
        answer.zombies.iter().filter(|(pid, _)| inet && *pid != bind.task.record.tgid)
    {
        let zombie =
            format!("{comm} {pid} is a zombie: it holds no port; its parent has not reaped it yet");
        cause.evidence.push(zombie.into());
    }
    cause
}

/// Why a refusal has no scan.
pub(super) const NO_SCAN: &str = "no scan shows who holds it now: it failed, took too long, had no room for all sockets, or too many binds were refused at once";

fn held(bind: &Bind, first: &Holder, holders: &[Holder], answer: &Answer) -> Cause {
    let state = first.socket.state;
    // The event names the socket that was asked for: what is held is named when it is another one.
    let asked = enrich::socket::at(&bind.socket, &bind.asked).name();
    let name = Some(first.socket.name()).filter(|name| *name != asked);
    let name = name.as_deref().unwrap_or("it");
    let who_holds = who(&first.process);
    let (cause_type, summary) = match state {
        Some(SocketState::Bound) => (
            CauseType::BoundNotListening,
            format!("{who_holds} has bound {name} but does not listen"),
        ),
        Some(
            SocketState::FinWait1
            | SocketState::FinWait2
            | SocketState::CloseWait
            | SocketState::LastAck
            | SocketState::Closing,
        ) => (
            CauseType::Closing,
            format!("{who_holds} has a connection on {name} that is not fully closed"),
        ),
        Some(SocketState::Established) => {
            (CauseType::Held, format!("{who_holds} has an open connection on {name}"))
        }
        _ => (CauseType::Held, format!("{who_holds} serves {name}")),
    };
    let mut cause = Cause::new(cause_type, summary, Confidence::Certain);
    cause = cause.because(format!(
        "a scan of all descriptors found {} in the way",
        count(processes(holders, answer))
    ));
    if let Endpoint::Path(path) = &bind.asked
        && !path.starts_with(b"/")
        && !matches!(answer.file, Some(PathFile::Socket(..)))
    {
        cause.confidence = Confidence::Likely;
        cause = cause.because(
            "its file could not be examined: all that is known is that both gave the same relative path",
        );
    }
    let others = processes(holders, answer) - 1;
    if others > 0 {
        cause.summary.to_mut().push_str(&format!(", and {others} more"));
    }
    if let Some(found) = answer.held.first() {
        let (asked, socket) = (&bind.asked, &found.socket);
        cause.evidence.extend(overlap(asked, &socket.endpoint()).map(Cow::from));
        cause.evidence.extend(sharing(&bind.socket, socket).map(Cow::from));
    }
    let waiting = answer.waiting();
    if waiting > 0 && !bind.socket.reuseaddr() {
        let waiting_too = human::count(waiting, "connection");
        cause.evidence.push(format!("in the way as well: {waiting_too} in TIME_WAIT").into());
        cause.connections = Some(waiting);
    }
    cause.with_remedy(&remedy(&bind.asked, first, holders, processes(holders, answer)))
}

fn count(processes: u64) -> String {
    if processes == 1 { "1 process".to_owned() } else { format!("{processes} processes") }
}

/// How many processes hold what is in the way, named or not.
fn processes(holders: &[Holder], answer: &Answer) -> u64 {
    answer.processes.max(pids(holders).len() as u64)
}

/// Somebody then, nobody now: the table remembers who.
fn gone(holder: &Holder, past: Option<&FormerServer>, bind: &Bind, answer: &Answer) -> Cause {
    let who_held = who(&holder.process);
    let name = holder.socket.name();
    if answer.is_none() && past.is_none_or(|past| past.until_ns < bind.time_ns) {
        let summary = format!("{who_held} is the last known server of {name}");
        return Cause::new(CauseType::Held, summary, Confidence::Likely)
            .because(NO_SCAN)
            .with_remedy("see who holds it now: observer ports");
    }
    let myself = holder.relation == Relation::Myself;
    let summary = if myself {
        format!("it served {name} itself and has ended since")
    } else {
        format!("{who_held} served {name} at that moment and has closed it since")
    };
    let mut cause = Cause::new(CauseType::Held, summary, Confidence::Likely);
    if let Some(past) = past.filter(|past| past.until_ns >= bind.time_ns) {
        let later = human::span(seconds_between(bind.time_ns, past.until_ns));
        cause = cause.because(format!("{who_held} released the port {later} after the refusal"));
    }
    cause.with_remedy(if myself {
        "the process already holds it: it binds twice"
    } else {
        "try again: the port is free"
    })
}

impl Cause {
    /// Names who served before.
    pub(super) fn left_by(mut self, past: Option<&FormerServer>) -> Self {
        if let Some(past) = past {
            self.evidence.push(format!("{} served it before", who(&past.process)).into());
            self.left_by = Some(Box::new((*past.process).clone()));
        }
        self
    }
}
