//! Who serves which port, now and before: remembers a holder after it is gone.
//!
//! **Bounded:** 65,536 served sockets, 512 past servers.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::{
    decode::{Endpoint, KernelSocket, TaskId},
    diagnose::{
        conflict::{Asker, conflicts},
        exit::seconds_between,
    },
    enrich::{
        self,
        scan::{Held, Scan},
    },
    model::{self, ListenEvent, Missing, Process, ReleaseEvent},
};

/// A served socket.
#[derive(Clone, Debug)]
pub struct ServedSocket {
    /// The socket.
    pub socket: KernelSocket,
    /// Since when, in nanoseconds of `CLOCK_BOOTTIME`; `None` when it was before the observer began.
    pub since_ns: Option<u64>,
    /// Who opened it, when that was seen, and its parent then.
    pub opener: Option<(TaskId, u32)>,
    /// Who held it by the last scan.
    pub holders: HashSet<TaskId>,
    /// The one to name.
    pub process: Process,
    /// The last scan did not find it.
    pub gone: bool,
    seen_ns: u64,
}

/// A socket that nobody serves any more.
#[derive(Clone, Debug)]
pub struct FormerServer {
    /// The socket.
    pub socket: KernelSocket,
    /// Since when it was served, when that was seen.
    pub since_ns: Option<u64>,
    /// Its last holder.
    pub process: Process,
    /// When it was released: nanoseconds of `CLOCK_BOOTTIME`.
    pub until_ns: u64,
    /// Who closed it, when that was seen.
    closer: Option<TaskId>,
}

/// The table.
#[derive(Debug, Default)]
pub struct PortTable {
    served: HashMap<u64, ServedSocket>,
    past: VecDeque<FormerServer>,
}

/// Most served sockets that are known: those above are reported as they start, and not remembered.
const SERVED: usize = 1 << 16;
/// How many past servers are remembered.
const PAST: usize = 512;
/// A server that is asked to stop closes its socket first and ends with its last connection: so much later, in nanoseconds,
/// its death still counts as the release.
const ENDING_NS: u64 = 10_000_000_000;

impl PortTable {
    /// A process began to serve; `None` when that is known already.
    pub fn listen(
        &mut self,
        socket: KernelSocket,
        id: TaskId,
        process: Process,
        time_ns: u64,
    ) -> Option<ListenEvent> {
        if let Some(known) = self.served.get_mut(&socket.0.sk)
            && known.socket.endpoint() == socket.endpoint()
        {
            // A scan may have found it before the record came; a second listen(2) only changes the backlog.
            known.seen_ns = known.seen_ns.max(time_ns);
            known.opener.get_or_insert((id, process.ppid.unwrap_or(0)));
            return None;
        }
        let served = ServedSocket {
            socket,
            since_ns: Some(time_ns),
            opener: Some((id, process.ppid.unwrap_or(0))),
            holders: [id].into(),
            process: process.clone(),
            gone: false,
            seen_ns: time_ns,
        };
        self.remember(served);
        Some(event(&socket, process, false))
    }

    /// Whether there is room for another one; those whose place is taken over have it.
    fn has_room(&self, sk: u64) -> bool {
        self.served.len() < SERVED || self.served.contains_key(&sk)
    }

    fn remember(&mut self, served: ServedSocket) {
        let sk = served.socket.0.sk;
        if self.has_room(sk) {
            self.served.insert(sk, served);
        }
    }

    /// The kernel says that a listener is gone, or a death took it along: with whom, when that was seen.
    pub fn stop(
        &mut self,
        sk: u64,
        last: Option<(TaskId, Process)>,
        time_ns: u64,
    ) -> Option<ReleaseEvent> {
        let served = self.served.remove(&sk)?;
        Some(self.release(served, last, time_ns))
    }

    /// What a process closed as it ended.
    pub fn closed_by(&self, id: TaskId, end_ns: u64) -> impl Iterator<Item = KernelSocket> {
        let late = move |past: &&FormerServer| past.until_ns.saturating_add(ENDING_NS) >= end_ns;
        let own = self.past.iter().filter(move |past| past.closer == Some(id));
        own.filter(late).map(|past| past.socket)
    }

    /// Takes a scan in; what it lacks is marked as gone, see [`Self::drop_gone`]. `name` makes a process of a holder;
    /// `initial` marks the first scan; `dying` no longer count as holders;
    /// `alive` are sockets that no descriptor leads to but that serve all the same.
    pub fn scanned(
        &mut self,
        scan: &Scan,
        initial: bool,
        dying: &HashSet<TaskId>,
        alive: &HashSet<u64>,
        name: &mut dyn FnMut(&Held) -> Process,
    ) -> Vec<ListenEvent> {
        let mut new = Vec::new();
        let mut seen = HashSet::new();
        // The kernel reported their end while the scan ran: what the scan saw of them is old.
        let late = self.past.iter().filter(|past| past.until_ns >= scan.began_ns);
        let released: Vec<KernelSocket> = late.map(|past| past.socket).collect();
        for held in scan.sockets.iter().filter(|held| held.socket.serves()) {
            let holders: HashSet<TaskId> = held
                .holders
                .iter()
                .map(crate::decode::Descriptor::id)
                .filter(|id| !dying.contains(id))
                .collect();
            if holders.is_empty() {
                continue;
            }
            let sk = held.socket.0.sk;
            let same = |socket: &KernelSocket| {
                socket.0.sk == sk && socket.endpoint() == held.socket.endpoint()
            };
            if released.iter().any(same) {
                continue;
            }
            seen.insert(sk);
            let has_room = self.has_room(sk);
            match self.served.get_mut(&sk) {
                Some(known) if known.socket.endpoint() == held.socket.endpoint() => {
                    known.holders = holders;
                    known.seen_ns = scan.began_ns;
                    known.socket.0.inode = held.socket.0.inode;
                }
                // It would be new to each scan.
                _ if !has_room => {}
                _ => {
                    let process = name(held);
                    new.push(event(&held.socket, process.clone(), initial));
                    let served = ServedSocket {
                        socket: held.socket,
                        since_ns: (!initial).then_some(scan.began_ns),
                        opener: None,
                        holders,
                        process,
                        gone: false,
                        seen_ns: scan.began_ns,
                    };
                    self.remember(served);
                }
            }
        }
        // What began after the scan did may not be in it.
        for (sk, served) in &mut self.served {
            served.gone =
                !seen.contains(sk) && !alive.contains(sk) && served.seen_ns < scan.began_ns;
        }
        new
    }

    /// Releases what the last scan did not find, except what a death is still `closing`.
    pub fn drop_gone(&mut self, closing: &HashSet<u64>, time_ns: u64) -> Vec<ReleaseEvent> {
        let gone = self.served.iter().filter(|(sk, served)| served.gone && !closing.contains(sk));
        let mut gone: Vec<u64> = gone.map(|(sk, _)| *sk).collect();
        // The order of a hash table is chance; a capture must give the same events as the live run.
        gone.sort_unstable();
        gone.into_iter()
            .filter_map(|sk| {
                let seen_ns = self.served.get(&sk)?.seen_ns;
                let mut release = self.stop(sk, None, time_ns)?;
                release.late_seconds = Some(seconds_between(seen_ns, time_ns));
                Some(release)
            })
            .collect()
    }

    /// Every known socket.
    #[must_use]
    pub fn sockets(&self) -> HashMap<u64, KernelSocket> {
        self.served.iter().map(|(sk, served)| (*sk, served.socket)).collect()
    }

    fn release(
        &mut self,
        served: ServedSocket,
        last: Option<(TaskId, Process)>,
        time_ns: u64,
    ) -> ReleaseEvent {
        let (closer, last) = last.unzip();
        let process = last.unwrap_or(served.process);
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        let socket = model::Socket { state: None, ..enrich::socket::bound(&served.socket) };
        self.past.push_back(FormerServer {
            socket: served.socket,
            since_ns: served.since_ns,
            process: process.clone(),
            until_ns: time_ns,
            closer,
        });
        let mut missing = Missing::new();
        if served.since_ns.is_none() {
            let why = "it was already served when observer started";
            missing.insert("served_seconds".into(), why.into());
        }
        let served_seconds = served.since_ns.map(|since| seconds_between(since, time_ns));
        ReleaseEvent { socket, process: Some(process), served_seconds, late_seconds: None, missing }
    }

    /// Who serves what, for somebody who has not seen it begin.
    pub fn serving(&self) -> impl Iterator<Item = ListenEvent> {
        let served = self.served.values().filter(|served| !served.gone);
        served.map(|served| event(&served.socket, served.process.clone(), true))
    }

    /// A served socket.
    #[must_use]
    pub fn get(&self, sk: u64) -> Option<&ServedSocket> {
        self.served.get(&sk)
    }

    /// A socket that serves, as far as the table knows, and is in the way.
    #[must_use]
    pub fn in_the_way(&self, asker: &Asker) -> Option<&ServedSocket> {
        let in_the_way = self.served.values().filter(|served| conflicts(asker, &served.socket));
        in_the_way.min_by_key(|served| served.socket.0.sk)
    }

    /// Who served an address last and does no longer.
    #[must_use]
    pub fn past(&self, endpoint: &Endpoint, netns: u32) -> Option<&FormerServer> {
        let path = matches!(endpoint, Endpoint::Path(_));
        self.past.iter().rev().find(|past| {
            (path || past.socket.0.netns == netns)
                && match (endpoint, past.socket.endpoint()) {
                    (Endpoint::Inet(_, a), Endpoint::Inet(_, b)) => *a == b,
                    (a, b) => *a == b,
                }
        })
    }

    /// Whether a process is known to hold a served socket.
    #[must_use]
    pub fn is_holder(&self, id: TaskId) -> bool {
        self.served.values().any(|served| served.holders.contains(&id))
    }

    /// Sockets that a process holds.
    pub fn held_by(&self, id: TaskId) -> impl Iterator<Item = u64> {
        self.served.iter().filter(move |(_, s)| s.holders.contains(&id)).map(|(sk, _)| *sk)
    }

    /// Process ids of all known holders.
    #[must_use]
    pub fn holders(&self) -> HashSet<u32> {
        self.served.values().flat_map(|served| served.holders.iter().map(|id| id.tgid)).collect()
    }
}

fn event(socket: &KernelSocket, process: Process, initial: bool) -> ListenEvent {
    let backlog = (!socket.datagram()).then_some(socket.0.backlog);
    ListenEvent { process, socket: enrich::socket::bound(socket), backlog, initial }
}

#[cfg(test)]
mod tests;
