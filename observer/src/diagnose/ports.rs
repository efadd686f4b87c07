//! Who serves which port, now and before: remembers a holder after it is gone.
//!
//! Anybody may open as many sockets as his limits let him. When there is no room, whoever has most loses one for somebody who
//! has less.
//!
//! **Bounded:** [`SERVED`] served sockets, [`PAST`] past servers; [`HOLDERS`] holders of each socket.

mod index;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

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

use index::{Index, place};

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
    pub holders: Vec<TaskId>,
    /// The one to name.
    pub process: Arc<Process>,
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
    pub process: Arc<Process>,
    /// When it was released: nanoseconds of `CLOCK_BOOTTIME`.
    pub until_ns: u64,
    /// Who closed it, when that was seen.
    closer: Option<TaskId>,
    place: u64,
}

/// The table.
#[derive(Debug, Default)]
pub struct PortTable {
    served: HashMap<u64, ServedSocket>,
    index: Index,
    past: VecDeque<FormerServer>,
    /// Shared by the sockets of one process.
    last_process: Arc<Process>,
}

/// Most served sockets that are known, about 300 bytes each: what has no room is reported as it starts, and not remembered.
const SERVED: usize = 1 << 14;
/// How many past servers are remembered.
const PAST: usize = 1024;
/// Most holders of one socket that are remembered.
const HOLDERS: usize = 32;
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
        let process = self.shared(process);
        let served = ServedSocket {
            socket,
            since_ns: Some(time_ns),
            opener: Some((id, process.ppid.unwrap_or(0))),
            holders: vec![id],
            process: Arc::clone(&process),
            gone: false,
            seen_ns: time_ns,
        };
        self.remember(served);
        Some(event(&socket, &process, false))
    }

    /// One process may serve thousands of sockets.
    fn shared(&mut self, process: Process) -> Arc<Process> {
        if *self.last_process != process {
            self.last_process = Arc::new(process);
        }
        Arc::clone(&self.last_process)
    }

    /// Whether there is room for another one, or somebody who has more than its user would have: those whose place is taken
    /// over have it.
    fn has_room(&self, socket: &KernelSocket) -> bool {
        self.served.len() < SERVED
            || self.served.contains_key(&socket.0.sk)
            || self.index.has_more_than(socket.0.uid).is_some()
    }

    fn remember(&mut self, served: ServedSocket) {
        let (sk, uid) = (served.socket.0.sk, served.socket.0.uid);
        if let Some(before) = self.served.remove(&sk) {
            self.index.remove(&before);
        } else if self.served.len() >= SERVED {
            let Some(loses) = self.index.has_more_than(uid) else { return };
            if let Some(lost) = self.served.remove(&loses) {
                self.index.remove(&lost);
            }
        }
        self.index.insert(&served);
        self.served.insert(sk, served);
    }

    fn take(&mut self, sk: u64) -> Option<ServedSocket> {
        let served = self.served.remove(&sk)?;
        self.index.remove(&served);
        Some(served)
    }

    /// The kernel says that a listener is gone, or a death took it along: with whom, when that was seen.
    pub fn stop(
        &mut self,
        sk: u64,
        last: Option<(TaskId, Process)>,
        time_ns: u64,
    ) -> Option<ReleaseEvent> {
        let served = self.take(sk)?;
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
    /// `alive` are sockets that no descriptor leads to but that serve all the same. At most `room` new ones are taken in and given
    /// back, with how many there are.
    pub fn scanned(
        &mut self,
        scan: &Scan,
        initial: bool,
        dying: &HashSet<TaskId>,
        alive: &HashSet<u64>,
        room: usize,
        name: &mut dyn FnMut(&Held) -> Process,
    ) -> (Vec<ListenEvent>, usize) {
        let (mut new, mut all_new) = (Vec::new(), 0);
        let mut seen = HashSet::new();
        // The kernel reported their end while the scan ran: what the scan saw of them is old.
        let late = self.past.iter().filter(|past| past.until_ns >= scan.began_ns);
        let mut released: HashMap<u64, Vec<Endpoint>> = HashMap::new();
        for past in late {
            released.entry(past.socket.0.sk).or_default().push(past.socket.endpoint());
        }
        for held in scan.sockets.iter().filter(|held| held.socket.serves()) {
            let sk = held.socket.0.sk;
            let alive = held.holders.iter().map(crate::decode::Descriptor::id);
            let mut holders: Vec<TaskId> =
                alive.filter(|id| !dying.contains(id)).take(HOLDERS).collect();
            // Those that had no room may live on.
            if holders.is_empty() && held.more == 0 {
                continue;
            }
            let endpoint = held.socket.endpoint();
            if released.get(&sk).is_some_and(|ended| ended.contains(&endpoint)) {
                continue;
            }
            seen.insert(sk);
            let has_room = self.has_room(&held.socket);
            match self.served.get_mut(&sk) {
                Some(known) if known.socket.endpoint() == endpoint => {
                    if known.holders != holders {
                        self.index.change_holders(sk, &known.holders, &holders);
                        std::mem::swap(&mut known.holders, &mut holders);
                    }
                    known.seen_ns = scan.began_ns;
                    known.socket.0.inode = held.socket.0.inode;
                }
                // It would be new to each scan.
                _ if !has_room => {}
                _ => {
                    all_new += 1;
                    if new.len() >= room {
                        continue;
                    }
                    let process = name(held);
                    let process = self.shared(process);
                    new.push(event(&held.socket, &process, initial));
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
        (new, all_new)
    }

    /// Whether there are sockets that the last scan did not find, except what a death is still `closing`.
    #[must_use]
    pub fn has_gone(&self, closing: &HashSet<u64>) -> bool {
        self.served.iter().any(|(sk, served)| served.gone && !closing.contains(sk))
    }

    /// Releases them, at most `room` of them.
    pub fn drop_gone(
        &mut self,
        closing: &HashSet<u64>,
        time_ns: u64,
        room: usize,
    ) -> Vec<ReleaseEvent> {
        let gone = self.served.iter().filter(|(sk, served)| served.gone && !closing.contains(sk));
        let mut gone: Vec<u64> = gone.map(|(sk, _)| *sk).collect();
        // The order of a hash table is chance; a capture must give the same events as the live run.
        gone.sort_unstable();
        gone.into_iter()
            .take(room)
            .filter_map(|sk| {
                let seen_ns = self.served.get(&sk)?.seen_ns;
                let mut release = self.stop(sk, None, time_ns)?;
                release.late_seconds = Some(seconds_between(seen_ns, time_ns));
                Some(release)
            })
            .collect()
    }

    /// Every known socket, by address.
    pub fn sockets(&self) -> impl Iterator<Item = (u64, &KernelSocket)> {
        self.served.iter().map(|(sk, served)| (*sk, &served.socket))
    }

    fn release(
        &mut self,
        served: ServedSocket,
        last: Option<(TaskId, Process)>,
        time_ns: u64,
    ) -> ReleaseEvent {
        let (closer, last) = last.unzip();
        let process = match last {
            Some(last) => self.shared(last),
            None => served.process,
        };
        let socket = model::Socket { state: None, ..enrich::socket::bound(&served.socket) };
        self.forget_one();
        self.past.push_back(FormerServer {
            socket: served.socket,
            since_ns: served.since_ns,
            process: Arc::clone(&process),
            until_ns: time_ns,
            closer,
            place: place(&served.socket.endpoint()),
        });
        let mut missing = Missing::new();
        if served.since_ns.is_none() {
            let why = "it was already served when observer started";
            missing.insert("served_seconds".into(), why.into());
        }
        let served_seconds = served.since_ns.map(|since| seconds_between(since, time_ns));
        let process = Some((*process).clone());
        ReleaseEvent { socket, process, served_seconds, late_seconds: None, missing }
    }

    /// Makes room for another past server: the oldest of the user who has most.
    fn forget_one(&mut self) {
        if self.past.len() < PAST {
            return;
        }
        let mut of_users: HashMap<u32, usize> = HashMap::new();
        for past in &self.past {
            *of_users.entry(past.socket.0.uid).or_default() += 1;
        }
        let most = of_users.iter().max_by_key(|(uid, count)| (**count, **uid)).map(|(uid, _)| *uid);
        let oldest = self.past.iter().position(|past| Some(past.socket.0.uid) == most);
        self.past.remove(oldest.unwrap_or(0));
    }

    /// Who serves what, for somebody who has not seen it begin.
    pub fn serving(&self) -> impl Iterator<Item = &ServedSocket> {
        self.served.values().filter(|served| !served.gone)
    }

    /// A served socket.
    #[must_use]
    pub fn get(&self, sk: u64) -> Option<&ServedSocket> {
        self.served.get(&sk)
    }

    /// A socket that serves, as far as the table knows, and is in the way.
    #[must_use]
    pub fn in_the_way(&self, asker: &Asker) -> Option<&ServedSocket> {
        let there = self.index.at(&asker.asked).filter_map(|sk| self.served.get(&sk));
        there.into_iter().find(|served| conflicts(asker, &served.socket))
    }

    /// Who served an address last and does no longer.
    #[must_use]
    pub fn past(&self, endpoint: &Endpoint, netns: u32) -> Option<&FormerServer> {
        let path = matches!(endpoint, Endpoint::Path(_));
        let wanted = place(endpoint);
        self.past.iter().rev().filter(|past| past.place == wanted).find(|past| {
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
        self.index.held_by(id).is_some()
    }

    /// Sockets that a process holds, by address.
    pub fn held_by(&self, id: TaskId) -> impl Iterator<Item = u64> {
        self.index.held_by(id).into_iter().flatten().copied()
    }

    /// Process ids of all known holders.
    #[must_use]
    pub fn holders(&self) -> HashSet<u32> {
        self.index.holders()
    }

    /// Changes whenever [`Self::holders`] may have.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.index.version()
    }
}

/// A socket that is served, as events tell it.
#[must_use]
pub fn event(socket: &KernelSocket, process: &Process, initial: bool) -> ListenEvent {
    let backlog = (!socket.datagram()).then_some(socket.0.backlog);
    let process = process.clone();
    ListenEvent { process, socket: enrich::socket::bound(socket), backlog, initial }
}

#[cfg(test)]
mod tests;
