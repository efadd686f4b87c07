//! One story while it grows: the events that belong to it, and what tells whether another one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    keys::{Ident, LoopKey, after, meets, same_port},
    ports::{Outage, Served},
    weigh::Weight,
};
use crate::model::{Event, Process, Socket, Time};

/// How long a story stays open without a further event, and how far its events may lie apart, in seconds.
pub(super) const QUIET: i64 = 120;
/// Most entries of a list of a story; the first ones and the newest ones are kept.
const KEPT: usize = 64;
/// Most events that a story names.
const NAMED: usize = 200;

/// A death.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) event: Arc<Event>,
    pub(super) weight: Weight,
}

/// Refusals that differ only in their time.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) event: Arc<Event>,
    pub(super) origins: Vec<Origin>,
    pub(super) count: u64,
    pub(super) last: (Time, u64),
}

/// Where a holder comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Who opened the socket.
    pub(super) opener: Option<Served>,
    /// The death of whoever left it behind.
    pub(super) left_by: Option<Arc<Event>>,
}

/// A port that is still held although its server is dead.
#[derive(Clone, Debug)]
pub(super) struct Half {
    pub(super) served: Served,
    pub(super) exit: Arc<Event>,
}

/// A port whose server is gone, where somebody else had a socket too.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    pub(super) socket: Socket,
    pub(super) time: Time,
    pub(super) seq: u64,
    pub(super) by: Served,
}

/// Deaths of what is started again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) first: (Time, u64),
    pub(super) last: (Time, u64),
}

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    pub(super) sockets: Vec<Socket>,
    pub(super) units: Vec<String>,
    pub(super) idents: Vec<Ident>,
    /// A dead process and its parent.
    pub(super) chain: Option<(u32, u32)>,
    pub(super) again: Option<LoopKey>,
    pub(super) oom_seq: Option<u64>,
    pub(super) limit: Option<String>,
}

/// A story.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) named: BTreeSet<(Time, u64)>,
    pub(super) unnamed: u64,
    pub(super) deaths: Vec<Death>,
    pub(super) tallies: BTreeMap<LoopKey, Tally>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) ooms: Vec<Arc<Event>>,
    pub(super) outages: Vec<Outage>,
    pub(super) listens: Vec<Served>,
    pub(super) halves: Vec<Half>,
    pub(super) remains: Vec<Remains>,
    pub(super) losses: Vec<Arc<Event>>,
    pub(super) restarts: Vec<(Time, u64)>,
    /// It was let go of before its end.
    pub(super) dropped: bool,
    pub(super) sockets: Vec<Socket>,
    pub(super) units: BTreeSet<String>,
    pub(super) idents: Vec<Ident>,
    chain: Vec<(u32, u32)>,
    again: BTreeSet<LoopKey>,
    limits: BTreeSet<String>,
    /// What was told of it last.
    pub(super) told: Option<String>,
    pub(super) times_told: u32,
    pub(super) changed: bool,
}

impl Case {
    pub(super) fn new(time: Time) -> Self {
        Self {
            first: time,
            last: time,
            named: BTreeSet::new(),
            unnamed: 0,
            deaths: Vec::new(),
            tallies: BTreeMap::new(),
            refusals: Vec::new(),
            ooms: Vec::new(),
            outages: Vec::new(),
            listens: Vec::new(),
            halves: Vec::new(),
            remains: Vec::new(),
            losses: Vec::new(),
            restarts: Vec::new(),
            dropped: false,
            sockets: Vec::new(),
            units: BTreeSet::new(),
            idents: Vec::new(),
            chain: Vec::new(),
            again: BTreeSet::new(),
            limits: BTreeSet::new(),
            told: None,
            times_told: 0,
            changed: true,
        }
    }

    /// Whether something is not served yet.
    pub(super) fn is_dark(&self) -> bool {
        self.outages.iter().any(|outage| outage.ended.is_none())
    }

    /// When it closes if nothing more comes.
    pub(super) fn closes(&self) -> Option<Time> {
        (!self.is_dark()).then(|| after(self.last, QUIET))
    }

    /// Whether an event of that time and those keys belongs here.
    pub(super) fn joins(&self, keys: &Keys, time: Time) -> bool {
        let port =
            |list: &[Socket]| list.iter().any(|a| keys.sockets.iter().any(|b| same_port(a, b)));
        let ident = || self.idents.iter().any(|a| keys.idents.iter().any(|b| a.is(*b)));
        if self.is_dark() {
            let dark = self.outages.iter().filter(|outage| outage.ended.is_none());
            let dark: Vec<Socket> = dark.map(|outage| outage.socket.clone()).collect();
            if port(&dark) || ident() {
                return true;
            }
        }
        after(self.last, QUIET) >= time
            && after(time, QUIET) >= self.first
            && (port(&self.sockets)
                || ident()
                || keys.units.iter().any(|unit| self.units.contains(unit))
                || keys.again.as_ref().is_some_and(|again| self.again.contains(again))
                || keys.limit.as_ref().is_some_and(|limit| self.limits.contains(limit))
                || self.is_kin(keys.chain)
                || keys.oom_seq.is_some_and(|seq| self.ooms.iter().any(|oom| oom.seq == seq)))
    }

    /// A dead process whose parent, or whose child, died in this story.
    fn is_kin(&self, chain: Option<(u32, u32)>) -> bool {
        chain.is_some_and(|(pid, ppid)| {
            self.chain.iter().any(|(its, its_parent)| {
                (ppid > 1 && *its == ppid) || (*its_parent > 1 && *its_parent == pid)
            })
        })
    }

    /// Takes an event in.
    pub(super) fn name(&mut self, event: &Event) {
        self.first = self.first.min(event.time);
        self.last = self.last.max(event.time);
        self.also(event.time, event.seq);
        self.changed = true;
    }

    /// Names an event that is evidence, whenever it happened.
    pub(super) fn also(&mut self, time: Time, seq: u64) {
        if self.named.insert((time, seq)) && self.named.len() > NAMED {
            let middle = self.named.iter().nth(NAMED / 2).copied();
            if let Some(middle) = middle {
                self.named.remove(&middle);
                self.unnamed += 1;
            }
        }
    }

    /// Makes what an event is about a part of what the story is about.
    pub(super) fn learn(&mut self, keys: Keys) {
        for socket in keys.sockets {
            if !self.sockets.contains(&socket) && self.sockets.len() < KEPT {
                self.sockets.push(socket);
            }
        }
        for unit in keys.units {
            if self.units.len() < KEPT {
                self.units.insert(unit);
            }
        }
        for ident in keys.idents {
            if !self.idents.contains(&ident) {
                keep(&mut self.idents, ident);
            }
        }
        if let Some(chain) = keys.chain {
            keep(&mut self.chain, chain);
        }
        if self.again.len() < KEPT {
            self.again.extend(keys.again);
        }
        if self.limits.len() < KEPT {
            self.limits.extend(keys.limit);
        }
    }

    pub(super) fn death(&mut self, event: &Arc<Event>, weight: Weight, process: &Process) {
        keep(&mut self.deaths, Death { event: event.clone(), weight });
        if weight < Weight::Failed {
            return;
        }
        let at = (event.time, event.seq);
        if let Some(key) = LoopKey::of(process)
            && (self.tallies.contains_key(&key) || self.tallies.len() < KEPT)
        {
            let tally = self.tallies.entry(key).or_insert(Tally { count: 0, first: at, last: at });
            tally.count += 1;
            tally.first = tally.first.min(at);
            tally.last = tally.last.max(at);
        }
    }

    pub(super) fn oom(&mut self, event: &Arc<Event>) {
        keep(&mut self.ooms, event.clone());
    }

    pub(super) fn outage(&mut self, outage: Outage) {
        for (time, seq) in &outage.events {
            self.also(*time, *seq);
        }
        self.changed = true;
        // An outage that lasts must not be forgotten: it is what keeps the story open.
        if self.outages.len() >= KEPT
            && let Some(old) = self.outages.iter().skip(1).position(|o| o.ended.is_some())
        {
            self.outages.remove(old + 1);
        }
        if self.outages.len() < KEPT {
            self.outages.push(outage);
        }
    }

    pub(super) fn listen(&mut self, served: &Served) {
        keep(&mut self.listens, served.clone());
    }

    pub(super) fn loss(&mut self, event: &Arc<Event>) {
        keep(&mut self.losses, event.clone());
        self.changed = true;
    }

    pub(super) fn half(&mut self, half: Half) {
        self.also(half.served.time, half.served.seq);
        keep(&mut self.halves, half);
    }

    pub(super) fn remain(&mut self, remains: Remains) {
        self.also(remains.by.time, remains.by.seq);
        keep(&mut self.remains, remains);
    }

    /// Nobody holds it any more.
    pub(super) fn let_go(&mut self, socket: &Socket) {
        self.halves.retain(|half| !meets(&half.served.socket, socket));
    }

    pub(super) fn refusal(&mut self, new: Refusal, is_same: impl Fn(&Event, &Event) -> bool) {
        for origin in &new.origins {
            if let Some(opener) = &origin.opener {
                self.also(opener.time, opener.seq);
            }
            if let Some(death) = &origin.left_by {
                self.also(death.time, death.seq);
            }
        }
        match self.refusals.iter_mut().find(|known| is_same(&known.event, &new.event)) {
            Some(known) => {
                known.count += new.count;
                known.last = known.last.max(new.last);
            }
            None => keep(&mut self.refusals, new),
        }
    }

    /// Two stories turn out to be one.
    pub(super) fn merge(&mut self, other: Self, is_same: impl Fn(&Event, &Event) -> bool) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.unnamed += other.unnamed;
        for (time, seq) in other.named {
            self.also(time, seq);
        }
        let keys = Keys {
            sockets: other.sockets,
            units: other.units.into_iter().collect(),
            idents: other.idents,
            ..Keys::default()
        };
        self.learn(keys);
        other.chain.into_iter().for_each(|chain| keep(&mut self.chain, chain));
        self.again.extend(other.again);
        self.limits.extend(other.limits);
        other.deaths.into_iter().for_each(|death| keep(&mut self.deaths, death));
        for (key, tally) in other.tallies {
            let mine = self.tallies.entry(key).or_insert(Tally { count: 0, ..tally });
            mine.count += tally.count;
            mine.first = mine.first.min(tally.first);
            mine.last = mine.last.max(tally.last);
        }
        other.refusals.into_iter().for_each(|refusal| self.refusal(refusal, &is_same));
        other.ooms.iter().for_each(|oom| self.oom(oom));
        other.outages.into_iter().for_each(|outage| self.outage(outage));
        other.listens.iter().for_each(|listen| self.listen(listen));
        other.halves.into_iter().for_each(|half| self.half(half));
        other.remains.into_iter().for_each(|remains| self.remain(remains));
        for loss in &other.losses {
            if !self.losses.iter().any(|known| known.seq == loss.seq && known.time == loss.time) {
                self.loss(loss);
            }
        }
        for restart in other.restarts {
            if !self.restarts.contains(&restart) {
                keep(&mut self.restarts, restart);
            }
        }
        self.changed = true;
    }
}

/// Keeps the first half of a list, and the newest.
fn keep<T>(list: &mut Vec<T>, new: T) {
    if list.len() >= KEPT {
        list.remove(KEPT / 2);
    }
    list.push(new);
}
