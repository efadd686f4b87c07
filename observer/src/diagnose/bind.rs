//! Why a bind or a listen was refused, and who is in the way.

mod remedy;
mod unowned;
mod verdict;

use observer_common::socket::CALL_LISTEN;

use self::verdict::cause;
use super::{
    answer::Answer,
    conflict::{Asker, conflicts},
    ports::{FormerServer, PortTable},
    relation::{Candidate, inherited, of_past, relation},
};
use crate::{
    decode::{self, Bind, Endpoint, KernelSocket},
    enrich::{self, procfs::Living},
    kernel::clock::Clock,
    model::{self, BindEvent, Call, Errno, Holder, Missing, Process, SocketState, Time},
};

const EPERM: i32 = -1;
const EACCES: i32 = -13;
const EADDRINUSE: i32 = -98;
const EADDRNOTAVAIL: i32 = -99;
const EINVAL: i32 = -22;

/// A socket in the way, with its holders as a reader sees them.
#[derive(Debug)]
pub struct Obstacle<'a> {
    /// The socket.
    pub socket: &'a KernelSocket,
    /// Who holds it.
    pub holders: Vec<ObstacleHolder<'a>>,
}

/// Who holds a socket in the way.
#[derive(Debug)]
pub struct ObstacleHolder<'a> {
    /// Its descriptor.
    pub holder: &'a decode::Descriptor,
    /// As `/proc` shows it; `None` for a process that was gone by then.
    pub living: Option<&'a Living>,
    /// As a reader sees it.
    pub process: Process,
}

/// The event of a refusal, with the answer of the scan and what was in the way by it.
#[must_use]
pub fn event(
    bind: &Bind,
    process: Process,
    answer: &Answer,
    obstacles: &[Obstacle<'_>],
    table: &PortTable,
    clock: &Clock,
) -> BindEvent {
    let mut holders = holders(&process, obstacles, table, clock);
    let past = table.past(&bind.asked, bind.socket.0.netns);
    if holders.is_empty() && bind.record.result == EADDRINUSE {
        let asker = Asker { socket: bind.socket, asked: bind.asked.clone() };
        // The scan came too late: the table remembers who served when the kernel refused.
        let served = table.in_the_way(&asker).map(|s| (&s.socket, s.since_ns, &*s.process));
        let gone = past.filter(|past| was_in_the_way(bind, &asker, past));
        let gone = gone.map(|past| (&past.socket, past.since_ns, &*past.process));
        if let Some((socket, since_ns, former)) = served.or(gone) {
            holders.push(former_holder(&process, socket, since_ns, former, answer, clock));
        }
    }
    let cause = cause(bind, &holders, answer, past);
    let total = answer.entries.max(holders.len() as u64);
    let call = if bind.record.call == CALL_LISTEN { Call::Listen } else { Call::Bind };
    let socket = model::Socket { state: None, ..enrich::socket::at(&bind.socket, &bind.asked) };
    let mut missing = Missing::new();
    if bind.asked == Endpoint::Unknown {
        let why = "the address asked for could not be read";
        missing.insert("socket.address".into(), why.into());
    }
    BindEvent {
        process,
        call,
        socket,
        error: Errno::new(bind.record.result),
        holders,
        holders_total: (total > 0).then_some(total),
        repeats: (bind.repeats > 0).then_some(bind.repeats),
        cause,
        missing,
    }
}

fn holders(
    asker: &Process,
    obstacles: &[Obstacle<'_>],
    table: &PortTable,
    clock: &Clock,
) -> Vec<Holder> {
    let mut out = Vec::new();
    for Obstacle { socket, holders } in obstacles {
        let served = table.get(socket.0.sk);
        let shown = enrich::socket::bound(socket);
        let pids: Vec<u32> = holders.iter().map(|h| h.holder.record.tgid).collect();
        let parents: Vec<u32> = holders.iter().map(|h| h.holder.record.ppid).collect();
        for ObstacleHolder { holder, living, process } in holders {
            let candidate = Candidate {
                holder,
                living: *living,
                process,
                opener: served.and_then(|served| served.opener),
                parent_holds: process.ppid.is_some_and(|ppid| pids.contains(&ppid)),
                children_hold: parents.contains(&holder.record.tgid),
                opener_holds: served
                    .and_then(|served| served.opener)
                    .is_some_and(|(opener, _)| holders.iter().any(|h| h.holder.id() == opener)),
            };
            let mut missing = Missing::new();
            let since = served.and_then(|s| s.since_ns).map(|ns| Time(clock.time(ns)));
            if since.is_none() {
                let why = "the socket was there before observer started, or never served";
                missing.insert("since".into(), why.into());
            }
            let inherited = inherited(&candidate);
            if inherited.is_none() {
                missing.insert("inherited".into(), "who opened the socket was not seen".into());
            }
            out.push(Holder {
                relation: relation(asker, &candidate),
                fd: Some(holder.record.fd),
                socket: shown.clone(),
                since,
                inherited,
                missing,
                process: process.clone(),
            });
        }
    }
    out
}

/// It served when the bind was refused, and was gone before the scan. Only for TCP is the moment of its end known.
fn was_in_the_way(bind: &Bind, asker: &Asker, past: &FormerServer) -> bool {
    matches!(bind.asked, Endpoint::Inet(..))
        && past.until_ns >= bind.time_ns
        && conflicts(asker, &past.socket)
}

fn former_holder(
    asker: &Process,
    socket: &KernelSocket,
    since_ns: Option<u64>,
    process: &Process,
    answer: &Answer,
    clock: &Clock,
) -> Holder {
    let mut socket = enrich::socket::bound(socket);
    socket.state = Some(SocketState::Listen);
    let gone =
        if answer.is_none() { "no scan was made" } else { "the holder was gone before the scan" };
    Holder {
        process: process.clone(),
        fd: None,
        socket,
        since: since_ns.map(|ns| Time(clock.time(ns))),
        relation: of_past(asker, process),
        inherited: None,
        missing: ["fd", "inherited"].map(|key| (key.into(), gone.into())).into(),
    }
}
