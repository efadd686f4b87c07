//! Things that lie at sockets, found by address, by who meets it, and by process.
//!
//! **Invariant:** in the order in which they came.
//! **Bounded:** by the number that it is made with; whoever has most loses the oldest.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::keys::{Ident, after, meets, same_address};
use crate::{
    diagnose::shares::Shares,
    model::{Process, Protocol, Socket, Time},
};

/// A protocol, and the port or the path.
type Place = (Protocol, Option<u16>, Option<String>);

/// What lies at a socket.
pub(super) trait Located {
    fn socket(&self) -> &Socket;
    fn process(&self) -> Option<&Process>;
}

#[derive(Debug)]
struct PlacedThing<T> {
    thing: T,
    /// As they were when it came: the thing may learn of its process later.
    uid: u32,
    pid: u32,
}

/// Things that lie at sockets.
#[derive(Debug)]
pub(super) struct PlaceIndex<T> {
    things: BTreeMap<u64, PlacedThing<T>>,
    by_place: BTreeMap<Place, BTreeMap<Option<IpAddr>, VecDeque<u64>>>,
    by_pid: HashMap<u32, VecDeque<u64>>,
    shares: Shares,
    next: u64,
    most: usize,
}

impl<T: Located> PlaceIndex<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            things: BTreeMap::new(),
            by_place: BTreeMap::new(),
            by_pid: HashMap::new(),
            shares: Shares::default(),
            next: 0,
            most,
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.values().map(|entry| &entry.thing)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.things.values_mut().map(|entry| &mut entry.thing)
    }

    /// Takes out everything, in order.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let things = std::mem::take(&mut self.things);
        self.clear();
        things.into_values().map(|entry| entry.thing).collect()
    }

    /// Takes a thing in; what has to make room comes out.
    pub(super) fn push(&mut self, thing: T) -> Option<T> {
        let id = self.next;
        self.next += 1;
        let socket = thing.socket();
        let there = self.by_place.entry(place(socket)).or_default();
        there.entry(socket.address).or_default().push_back(id);
        let pid = thing.process().map_or(0, |process| process.pid);
        let uid = thing.process().and_then(|process| process.uid).unwrap_or(u32::MAX);
        self.by_pid.entry(pid).or_default().push_back(id);
        self.shares.insert(uid, id);
        self.things.insert(id, PlacedThing { thing, uid, pid });
        if self.things.len() <= self.most {
            return None;
        }
        let loses = self.shares.first_of_most()?;
        self.remove(loses)
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        self.things.first_key_value().map(|(id, entry)| (*id, &entry.thing))
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.things.get_mut(&id).map(|entry| &mut entry.thing)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let PlacedThing { thing, uid, pid } = self.things.remove(&id)?;
        let (place, address) = (place(thing.socket()), thing.socket().address);
        if let Some(there) = self.by_place.get_mut(&place) {
            if let Some(ids) = there.get_mut(&address) {
                drop_id(ids, id);
                if ids.is_empty() {
                    there.remove(&address);
                }
            }
            if there.is_empty() {
                self.by_place.remove(&place);
            }
        }
        if let Some(ids) = self.by_pid.get_mut(&pid) {
            drop_id(ids, id);
            if ids.is_empty() {
                self.by_pid.remove(&pid);
            }
        }
        self.shares.remove(uid, id);
        Some(thing)
    }

    /// Those at exactly that address, the oldest first.
    pub(super) fn at(&self, socket: &Socket) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let there = self.by_place.get(&place(socket));
        let ids = there.and_then(|there| there.get(&socket.address)).into_iter().flatten();
        let things = ids.filter_map(|id| Some((*id, &self.things.get(id)?.thing)));
        things.filter(|(_, thing)| same_address(thing.socket(), socket))
    }

    /// Those that answer there too: at that address, at all addresses, or, when all are asked for, at any.
    pub(super) fn meeting(&self, socket: &Socket) -> impl Iterator<Item = (u64, &T)> {
        const ALL: [Option<IpAddr>; 3] = [
            None,
            Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        ];
        let any = ALL.contains(&socket.address);
        let there = self.by_place.get(&place(socket));
        let everywhere = there.filter(|_| any).into_iter().flat_map(BTreeMap::values);
        let near = ALL.into_iter().chain([socket.address]).filter(move |_| !any);
        let near = near.filter_map(move |address| there?.get(&address));
        let ids = everywhere.chain(near).flatten();
        let things = ids.filter_map(|id| Some((*id, &self.things.get(id)?.thing)));
        things.filter(|(_, thing)| meets(thing.socket(), socket))
    }

    /// Those of a process.
    pub(super) fn of(&self, pid: u32) -> impl Iterator<Item = &T> {
        let ids = self.by_pid.get(&pid).into_iter().flatten();
        ids.filter_map(|id| Some(&self.things.get(id)?.thing))
    }
}

fn place(socket: &Socket) -> Place {
    (socket.protocol, socket.port, socket.path.clone())
}

fn drop_id(ids: &mut VecDeque<u64>, id: u64) {
    // Ids grow, so the list is sorted.
    if let Ok(at) = ids.binary_search(&id) {
        ids.remove(at);
    }
}

/// What ceased to be served: a death lists it, and the release is an event too.
#[derive(Debug)]
struct Gone {
    socket: Socket,
    by: Option<Ident>,
    time: Time,
}

impl Located for Gone {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn process(&self) -> Option<&Process> {
        None
    }
}

/// Finds the second half of such a pair.
///
/// **Bounded:** [`PAIRS`] wait for their other half, for [`PAIR`] seconds.
#[derive(Debug)]
pub(super) struct Pairs(PlaceIndex<Gone>);

/// Most that wait.
const PAIRS: usize = 4096;
/// How far the two may lie apart, in seconds.
const PAIR: i64 = 2;

impl Default for Pairs {
    fn default() -> Self {
        Self(PlaceIndex::new(PAIRS))
    }
}

impl Pairs {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether it is the second half; the first one waits from now on.
    pub(super) fn is_second(&mut self, socket: &Socket, by: Option<Ident>, time: Time) -> bool {
        let near = |then: Time| after(then, PAIR) >= time && after(time, PAIR) >= then;
        while let Some((id, gone)) = self.0.first()
            && after(gone.time, PAIR) < time
        {
            self.0.remove(id);
        }
        let is_same = |gone: &Gone| near(gone.time) && gone.by.zip(by).is_none_or(|(a, b)| a.is(b));
        let first = self.0.at(socket).find(|(_, gone)| is_same(gone)).map(|(id, _)| id);
        match first {
            Some(first) => {
                self.0.remove(first);
            }
            None => drop(self.0.push(Gone { socket: socket.clone(), by, time })),
        }
        first.is_some()
    }
}
