//! Why a bind or a listen was refused, and who is in the way.

mod nobody;
mod remedy;
mod verdict;

use observer_common::socket::CALL_LISTEN;

use self::verdict::cause;
use super::{
    ports::{Past, PortTable},
    relation::{Candidate, inherited, of_past, relation},
};
use crate::{
    decode::{Bind, Endpoint, Socket},
    enrich::{
        Enricher,
        conflict::{Asker, conflicts},
        lookup::{Answer, Found},
    },
    model::{self, BindEvent, Call, Errno, Holder, Missing, Process, State, Time},
};

const EPERM: i32 = -1;
const EACCES: i32 = -13;
const EADDRINUSE: i32 = -98;
const EADDRNOTAVAIL: i32 = -99;
const EINVAL: i32 = -22;

/// The event of a refusal, with the answer of its look-up.
pub fn event(
    bind: &Bind,
    process: Process,
    answer: &Answer,
    table: &PortTable,
    enricher: &mut Enricher,
) -> BindEvent {
    let mut holders = holders(&process, answer, table, enricher);
    let past = table.past(&bind.asked, bind.socket.0.netns);
    if holders.is_empty() && bind.record.result == EADDRINUSE {
        let asker = Asker { socket: bind.socket, asked: bind.asked.clone() };
        // The look came too late: the table remembers who served when the kernel refused.
        let served = table.in_the_way(&asker).map(|s| (&s.socket, s.since_ns, &s.process));
        let gone = past.filter(|past| was_in_the_way(bind, &asker, past));
        let gone = gone.map(|past| (&past.socket, past.since_ns, &past.process));
        if let Some((socket, since_ns, former)) = served.or(gone) {
            holders.push(former_holder(&process, socket, since_ns, former, answer, enricher));
        }
    }
    let cause = cause(bind, &holders, answer, past);
    let call = if bind.record.call == CALL_LISTEN { Call::Listen } else { Call::Bind };
    let mut socket = model::Socket::new(&bind.socket, &bind.asked);
    socket.state = None;
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
        cause,
        missing,
    }
}

fn holders(
    asker: &Process,
    answer: &Answer,
    table: &PortTable,
    enricher: &mut Enricher,
) -> Vec<Holder> {
    let mut out = Vec::new();
    for Found { socket, holders } in &answer.held {
        let served = table.get(socket.0.sk);
        let shown = model::Socket::new(socket, &socket.endpoint());
        let pids: Vec<u32> = holders.iter().map(|(holder, _)| holder.record.tgid).collect();
        let parents: Vec<u32> = holders.iter().map(|(holder, _)| holder.record.ppid).collect();
        for (holder, living) in holders {
            let process = match (living, served) {
                (Some(living), _) => enricher.process(&living.task),
                // Gone between the pass and now: the table may still know it.
                (None, Some(served))
                    if served.holders.contains(&holder.id())
                        && served.process.pid == holder.record.tgid =>
                {
                    served.process.clone()
                }
                (None, _) => {
                    let mut process = enricher.named(
                        holder.id(),
                        crate::decode::until_nul(&holder.record.comm),
                        "the process was gone before it could be read",
                    );
                    process.ppid = Some(holder.record.ppid);
                    process.missing.remove("ppid");
                    process
                }
            };
            let candidate = Candidate {
                holder,
                living: living.as_ref(),
                process: &process,
                opener: served.and_then(|served| served.opener),
                parent_holds: process.ppid.is_some_and(|ppid| pids.contains(&ppid)),
                children_hold: parents.contains(&holder.record.tgid),
                opener_holds: served
                    .and_then(|served| served.opener)
                    .is_some_and(|(opener, _)| holders.iter().any(|(h, _)| h.id() == opener)),
            };
            let mut missing = Missing::new();
            let since = served.and_then(|s| s.since_ns).map(|ns| Time(enricher.clock.time(ns)));
            if since.is_none() {
                let why = "it was there before the observer began, or never served";
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
                process,
            });
        }
    }
    out
}

/// It served when the bind was refused, and was gone before the look. Only TCP tells the moment of its end.
fn was_in_the_way(bind: &Bind, asker: &Asker, past: &Past) -> bool {
    matches!(bind.asked, Endpoint::Inet(..))
        && past.until_ns >= bind.time_ns
        && conflicts(asker, &past.socket)
}

fn former_holder(
    asker: &Process,
    socket: &Socket,
    since_ns: Option<u64>,
    process: &Process,
    answer: &Answer,
    enricher: &Enricher,
) -> Holder {
    let mut socket = model::Socket::new(socket, &socket.endpoint());
    socket.state = Some(State::Listen);
    let gone =
        if answer.is_none() { "nobody looked" } else { "the holder was gone before the look" };
    Holder {
        process: process.clone(),
        fd: None,
        socket,
        since: since_ns.map(|ns| Time(enricher.clock.time(ns))),
        relation: of_past(asker, process),
        inherited: None,
        missing: ["fd", "inherited"].map(|key| (key.into(), gone.into())).into(),
    }
}
