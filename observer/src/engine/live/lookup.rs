//! Answers "who is in the way" for refused binds: one scan, then a few files of `/proc`. Blocks.
//!
//! **Bounded:** an answer names [`NAMED`] holders and counts the others; [`CHILDREN`] children of one process are looked at, once
//! a scan, and [`ZOMBIES`] zombies are named.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use observer_common::socket::{STATE_CLOSE, STATE_LISTEN};

use crate::{
    decode::{Endpoint, TaskId},
    diagnose::{
        answer::{Answer, HeldSocket, Question},
        conflict::{addresses_meet, conflicts},
    },
    engine::scan::owner,
    enrich::{
        connections::{self, Connection, Tables},
        path_file::{self, AtPath, PathFile, look_at},
        procfs::{self, ProcessCache},
        scan::{Held, Scan},
        unheld::netns_of,
    },
};

const EADDRINUSE: u32 = 98;
/// Most holders that an answer names.
pub(super) const NAMED: usize = 16;
/// Most zombies that an answer names.
const ZOMBIES: usize = 8;
/// Most children that are looked at for zombies.
const CHILDREN: usize = 256;

/// Answers questions from one scan.
pub(super) struct Lookup<'a> {
    scan: &'a Scan,
    inodes: &'a HashSet<u64>,
    processes: &'a mut ProcessCache,
    tables: Tables,
    careful: bool,
    by_port: HashMap<u16, Vec<&'a Held>>,
    by_name: HashMap<Endpoint, Vec<&'a Held>>,
    by_file: HashMap<u64, Vec<&'a Held>>,
    zombies: HashMap<u32, Vec<(u32, String)>>,
}

impl<'a> Lookup<'a> {
    /// From a scan that had the ports of all questions marked.
    pub(super) fn new(
        scan: &'a Scan,
        inodes: &'a HashSet<u64>,
        processes: &'a mut ProcessCache,
        tables: Tables,
        careful: bool,
    ) -> Self {
        let mut this = Self {
            scan,
            inodes,
            processes,
            tables,
            careful,
            by_port: HashMap::new(),
            by_name: HashMap::new(),
            by_file: HashMap::new(),
            zombies: HashMap::new(),
        };
        for held in &scan.sockets {
            match held.socket.endpoint() {
                Endpoint::Inet(_, port) => this.by_port.entry(port).or_default().push(held),
                Endpoint::Unknown => {}
                name => this.by_name.entry(name).or_default().push(held),
            }
            if held.socket.0.path_inode != 0 {
                this.by_file.entry(held.socket.0.path_inode).or_default().push(held);
            }
        }
        this
    }

    /// Answers one.
    pub(super) fn answer(&mut self, question: &Question) -> Answer {
        let mut answer = Answer { began_ns: self.scan.began_ns, ..Answer::default() };
        if question.errno != EADDRINUSE {
            return answer;
        }
        let at_path = match &question.asker.asked {
            Endpoint::Path(_) if self.careful => Some(PathFile::Unreachable.into()),
            Endpoint::Path(path) => {
                let (pid, ppid) = (question.pid, question.ppid);
                let has_parents_root = question.has_parents_root;
                Some(look_at(path_file::PathAsker { pid, ppid, has_parents_root }, path))
            }
            _ => None,
        };
        let in_the_way = self.in_the_way(question, at_path.as_ref());
        if in_the_way.is_empty() && self.scan.left_out > 0 {
            // Whoever holds it may have had no room.
            return Answer { file: at_path.map(|found| found.file), ..Answer::default() };
        }
        self.name(in_the_way, &mut answer);
        answer.file = at_path.map(|found| found.file);
        answer.zombies = self.zombies(question);
        let files = match question.asker.socket.0.protocol {
            17 => connections::UDP,
            _ => connections::TCP,
        };
        if let Some(port) = question.asker.asked.port() {
            answer.connections = self.unowned(question, port, files);
            if port == 0 {
                let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
                answer.port_range =
                    range.ok().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" to "));
            }
        }
        answer
    }

    /// The sockets in the way, listeners first.
    fn in_the_way(&self, question: &Question, at_path: Option<&AtPath>) -> Vec<&'a Held> {
        let asked = &question.asker.asked;
        let none: &[&Held] = &[];
        let of = |held: Option<&Vec<&'a Held>>| held.map_or(none, |held| held).to_vec();
        let mut candidates = match asked {
            Endpoint::Inet(_, port) => of(self.by_port.get(port)),
            name => of(self.by_name.get(name)),
        };
        let file = match at_path {
            Some(AtPath { file: PathFile::Socket(inode, ..), device, .. }) => {
                Some((*inode, *device))
            }
            _ => None,
        };
        if let Some((inode, _)) = file {
            for held in of(self.by_file.get(&inode)) {
                if !candidates.iter().any(|known| std::ptr::eq(*known, held)) {
                    candidates.push(held);
                }
            }
        }
        let in_the_way = |held: &&Held| match (file, &held.socket.0) {
            // The file decides, however each side spells its path.
            (Some((inode, device)), socket) if socket.path_inode != 0 => {
                socket.path_inode == inode && device.is_none_or(|dev| dev == socket.path_device)
            }
            _ => conflicts(&question.asker, &held.socket),
        };
        candidates.retain(|held| in_the_way(held));
        candidates.sort_by_key(|held| held.socket.0.state != STATE_LISTEN);
        candidates
    }

    /// Names [`NAMED`] of the holders: the owner of each socket first, then processes that have no entry yet.
    fn name(&mut self, in_the_way: Vec<&Held>, answer: &mut Answer) {
        let total = |held: &Held| held.holders.len() as u64 + u64::from(held.more);
        answer.entries = in_the_way.iter().map(|held| total(held)).sum();
        let all = || in_the_way.iter().flat_map(|held| &held.holders);
        let processes: HashSet<TaskId> = all().map(crate::decode::Descriptor::id).collect();
        let more = in_the_way.iter().map(|held| held.more).max().unwrap_or(0);
        answer.processes = processes.len() as u64 + u64::from(more);
        let mut named: HashSet<TaskId> = HashSet::new();
        let mut chosen: Vec<Vec<usize>> = vec![Vec::new(); in_the_way.len()];
        let mut left = NAMED;
        for round in 0..3 {
            for (held, chosen) in in_the_way.iter().zip(&mut chosen) {
                let own = owner(held).map(crate::decode::Descriptor::id);
                for (at, holder) in held.holders.iter().enumerate() {
                    let fits = match round {
                        0 => own == Some(holder.id()) && !named.contains(&holder.id()),
                        1 => !named.contains(&holder.id()),
                        _ => !chosen.contains(&at),
                    };
                    if left > 0 && fits {
                        left -= 1;
                        named.insert(holder.id());
                        chosen.push(at);
                    }
                }
                if left == 0 {
                    break;
                }
            }
        }
        for (held, mut chosen) in in_the_way.into_iter().zip(chosen) {
            if chosen.is_empty() {
                continue;
            }
            chosen.sort_unstable();
            let holders = chosen.into_iter().filter_map(|at| held.holders.get(at));
            let holders = holders.map(|holder| (*holder, self.processes.living(holder.id())));
            answer.held.push(HeldSocket { socket: held.socket, holders: holders.collect() });
        }
    }

    /// Zombies beside the process that was refused, which may have ended for it and is nobody's obstacle.
    fn zombies(&mut self, question: &Question) -> Vec<(u32, String)> {
        let mut all = Vec::new();
        for parent in [question.ppid, question.pid] {
            let of_parent = self.zombies.entry(parent);
            let found = of_parent.or_insert_with(|| procfs::zombie_children(parent, CHILDREN));
            all.extend(found.iter().filter(|(pid, _)| *pid != question.pid).cloned());
        }
        all.truncate(ZOMBIES);
        all
    }

    /// Connections on the port that no process has open and whose addresses meet.
    fn unowned(
        &mut self,
        question: &Question,
        port: u16,
        files: [&'static str; 2],
    ) -> Option<Vec<Connection>> {
        let netns = question.asker.socket.0.netns;
        let pid = [question.pid, std::process::id(), question.ppid]
            .into_iter()
            .find(|pid| netns_of(*pid) == Some(netns))?;
        let Endpoint::Inet(asked, _) = question.asker.asked else { return None };
        let rows = self.tables.on_port((netns, pid), port, files)?;
        let v6only = question.asker.socket.v6only();
        // SO_REUSEADDR on both sides would let it pass; the rows don't tell whether they had it, but the kernel refused.
        let unowned = rows.iter().filter(|row| {
            addresses_meet(asked, v6only, row.address, false)
                && (row.inode == 0
                    || (matches!(row.state, STATE_LISTEN | STATE_CLOSE)
                        && !self.inodes.contains(&row.inode)))
        });
        Some(connections::summed(unowned))
    }
}
