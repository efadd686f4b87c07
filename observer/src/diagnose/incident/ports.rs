//! Who serves what, by the events, and since when nobody does.
//!
//! **Bounded:** 4,096 served sockets, 64 releases that wait for their pair.

use super::keys::{Ident, after, meets, same_address};
use crate::model::{ListenEvent, Process, Socket, Time};

/// A socket that is served.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) socket: Socket,
    pub(super) process: Process,
    pub(super) time: Time,
    pub(super) seq: u64,
    pub(super) initial: bool,
}

/// A time in which nobody serves a socket.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    pub(super) socket: Socket,
    pub(super) began: Time,
    /// Events that say so.
    pub(super) events: Vec<(Time, u64)>,
    /// The last who served.
    pub(super) last: Option<Process>,
    /// It may have begun earlier.
    pub(super) late: bool,
    pub(super) ended: Option<Server>,
}

/// The table: what is served, and what ceased to be a moment ago.
#[derive(Debug, Default)]
pub(super) struct ServedPorts {
    served: Vec<Server>,
    gone: Vec<(Socket, Option<Ident>, Time)>,
}

/// What became of a release.
pub(super) enum Released {
    /// The second of a pair: a death lists what it released, and the release is an event too.
    Again,
    /// Another process still serves there.
    Server(Box<Server>),
    /// Nobody serves any more.
    Unserved,
}

/// Most sockets that are remembered.
const SERVED: usize = 4096;
/// Most releases that wait for their other half.
const GONE: usize = 64;
/// How far a death and the release it made may lie apart, in seconds.
const PAIR: i64 = 2;

impl ServedPorts {
    /// A new run of observer reports again what is served.
    pub(super) fn clear(&mut self) {
        self.served.clear();
        self.gone.clear();
    }

    pub(super) fn listen(&mut self, listen: &ListenEvent, time: Time, seq: u64) -> Server {
        let served = Server {
            socket: listen.socket.clone(),
            process: listen.process.clone(),
            time,
            seq,
            initial: listen.initial,
        };
        if self.served.len() >= SERVED {
            self.served.remove(0);
        }
        self.served.push(served.clone());
        served
    }

    /// A socket is released, and `along` with it, which therefore serve no longer either.
    pub(super) fn release(
        &mut self,
        socket: &Socket,
        along: &[Socket],
        process: Option<&Process>,
        time: Time,
    ) -> Released {
        let who = process.map(Ident::of);
        let near = |then: Time| after(then, PAIR) >= time && after(time, PAIR) >= then;
        let pair = self.gone.iter().position(|(gone, by, then)| {
            same_address(gone, socket) && near(*then) && is_same(*by, who)
        });
        if let Some(pair) = pair {
            self.gone.remove(pair);
            return Released::Again;
        }
        if self.gone.len() >= GONE {
            self.gone.remove(0);
        }
        self.gone.push((socket.clone(), who, time));
        let here = |served: &Server| same_address(&served.socket, socket) && served.time <= time;
        let own = |served: &Server| is_same(Some(Ident::of(&served.process)), who);
        let found = self.served.iter().position(|served| here(served) && own(served));
        let found = found.or_else(|| self.served.iter().position(here));
        if let Some(found) = found {
            self.served.remove(found);
        }
        let goes_too = |served: &Server| {
            !same_address(&served.socket, socket)
                && along.iter().any(|other| same_address(&served.socket, other))
        };
        let mut left = self.served.iter().filter(|served| !goes_too(served));
        match left.find(|served| meets(&served.socket, socket)) {
            Some(served) => Released::Server(Box::new(served.clone())),
            None => Released::Unserved,
        }
    }

    /// Everything that is served.
    pub(super) fn all(&self) -> impl Iterator<Item = &Server> {
        self.served.iter()
    }

    /// What that process opened and is still held.
    pub(super) fn opened_by(&self, who: Ident) -> impl Iterator<Item = &Server> {
        self.served.iter().filter(move |served| Ident::of(&served.process).is(who))
    }

    /// Who opened the socket of that address, as of `since` where that is known.
    pub(super) fn opener(&self, socket: &Socket, since: Option<Time>) -> Option<&Server> {
        let here = || self.served.iter().rev().filter(|s| same_address(&s.socket, socket));
        here().find(|served| Some(served.time) == since).or_else(|| {
            let mut all = here();
            // With two sockets at one address nothing shows which of them it is.
            all.next().filter(|_| all.next().is_none() && since.is_none())
        })
    }
}

fn is_same(a: Option<Ident>, b: Option<Ident>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.is(b),
        _ => true,
    }
}
