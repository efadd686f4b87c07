//! Who serves what, by the events, and since when nobody does.
//!
//! **Bounded:** [`SERVED`] served sockets, and the releases that wait for their pair.

use super::{
    keys::{Ident, same_address},
    places::{Located, Pairs, PlaceIndex},
};
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

impl Located for Outage {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn process(&self) -> Option<&Process> {
        self.last.as_ref()
    }
}

impl Located for Server {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.process)
    }
}

/// The table: what is served, and what ceased to be a moment ago.
#[derive(Debug)]
pub(super) struct ServedPorts {
    served: PlaceIndex<Server>,
    gone: Pairs,
}

impl Default for ServedPorts {
    fn default() -> Self {
        Self { served: PlaceIndex::new(SERVED), gone: Pairs::default() }
    }
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
const SERVED: usize = 8192;

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
        if self.gone.is_second(socket, who, time) {
            return Released::Again;
        }
        let began = |(_, served): &(u64, &Server)| served.time <= time;
        let own = |server: &Server| is_same(Some(Ident::of(&server.process)), who);
        let here = || self.served.at(socket).filter(began);
        let found = here().find(|(_, served)| own(served)).or_else(|| here().next());
        if let Some((found, _)) = found {
            self.served.remove(found);
        }
        let goes_too = |served: &Server| {
            !same_address(&served.socket, socket)
                && along.iter().any(|other| same_address(&served.socket, other))
        };
        match self.served.meeting(socket).find(|(_, served)| !goes_too(served)) {
            Some((_, served)) => Released::Server(Box::new(served.clone())),
            None => Released::Unserved,
        }
    }

    /// Everything that is served.
    pub(super) fn all(&self) -> impl Iterator<Item = &Server> {
        self.served.iter()
    }

    /// What that process opened and is still held.
    pub(super) fn opened_by(&self, who: Ident) -> impl Iterator<Item = &Server> {
        self.served.of(who.pid).filter(move |served| Ident::of(&served.process).is(who))
    }

    /// Who opened the socket of that address, as of `since` where that is known.
    pub(super) fn opener(&self, socket: &Socket, since: Option<Time>) -> Option<&Server> {
        let here = || self.served.at(socket).rev().map(|(_, served)| served);
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
