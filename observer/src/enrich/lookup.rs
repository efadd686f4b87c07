//! Answers "who is in the way" for binds that were refused: one snapshot, then a few files of `/proc`. Blocks.

use std::{borrow::Cow, fs};

use jiff::Timestamp;
use observer_common::socket::{STATE_CLOSE, STATE_LISTEN, STATE_TIME_WAIT};
use serde::{Deserialize, Serialize};

use super::{
    conflict::{Asker, addresses_meet, conflicts},
    connections::{self, Connection, Tables},
    path_file::{AtPath, look_at},
    procfs::{self, Known, Living},
    snapshot::{Held, Snapshot},
    unheld::netns_of,
};
use crate::decode::{Endpoint, Holder, Socket, TaskId};

/// A refused bind or listen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// What was asked, on which socket.
    pub asker: Asker,
    /// Who asked.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// The errno.
    pub errno: u32,
}

/// What a question turns on: the same answer serves all with the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    asked: Endpoint,
    netns: u32,
    protocol: u16,
    kind: u16,
    flags: u8,
    uid: u32,
    device: u32,
    errno: u32,
    ppid: u32,
}

impl Question {
    /// The address, the namespace, the options, and who it is for.
    #[must_use]
    pub fn key(&self) -> Key {
        let socket = &self.asker.socket.0;
        Key {
            asked: self.asker.asked.clone(),
            netns: socket.netns,
            protocol: socket.protocol,
            kind: socket.kind,
            flags: socket.flags,
            uid: socket.uid,
            device: socket.device,
            errno: self.errno,
            ppid: self.ppid,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// When the look-up began; 0 when there was none.
    pub began_ns: u64,
    /// Sockets in the way, and who holds them.
    pub held: Vec<Found>,
    /// TCP connections in the way that nobody has open; `None` when the network namespace could not be looked into.
    pub connections: Option<Vec<Connection>>,
    /// What lies at the path of a unix socket.
    pub file: Option<PathFile>,
    /// Ports that the kernel deals out (`net.ipv4.ip_local_port_range`), when one of those was asked for.
    pub port_range: Option<String>,
    /// Zombies beside the process that was refused.
    pub zombies: Vec<(u32, String)>,
}

impl Answer {
    /// Whether nobody looked: a look failed, or too many were refused at once.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.began_ns == 0
    }

    /// How many connections are in TIME_WAIT.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let rows = self.connections.iter().flatten();
        rows.filter(|row| row.state == STATE_TIME_WAIT).count()
    }

    /// A listening socket that no descriptor leads to.
    #[must_use]
    pub fn unowned_listener(&self) -> Option<&Connection> {
        self.connections.iter().flatten().find(|row| row.state == STATE_LISTEN)
    }

    /// Whether the answer names a process.
    #[must_use]
    pub fn names(&self, id: TaskId) -> bool {
        self.holders().any(|holder| holder == id)
    }

    /// Everybody whom it names.
    pub fn holders(&self) -> impl Iterator<Item = TaskId> {
        self.held.iter().flat_map(|found| found.holders.iter().map(|(holder, _)| holder.id()))
    }
}

/// A socket in the way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The socket.
    pub socket: Socket,
    /// Who holds it; `None` for a process that was gone before it could be read.
    pub holders: Vec<(Holder, Option<Living>)>,
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathFile {
    /// Nothing, by now.
    Gone,
    /// The file of a socket: its inode, its owner, and when it was made.
    Socket(u64, u32, Option<Timestamp>),
    /// Something else, in words.
    Other(Cow<'static, str>),
    /// It can't be looked at: the process's folder is out of reach, or the path leads out of it, or through `/proc`.
    Unreachable,
}

const EADDRINUSE: u32 = 98;

/// Answers one question from a snapshot that was taken with its port marked.
#[must_use]
pub fn answer(
    snapshot: &Snapshot,
    question: &Question,
    known: &mut Known,
    tables: &mut Tables,
) -> Answer {
    let mut answer = Answer { began_ns: snapshot.began_ns, ..Answer::default() };
    if question.errno != EADDRINUSE {
        return answer;
    }
    let at_path = match &question.asker.asked {
        Endpoint::Path(path) => Some(look_at(question.pid, question.ppid, path)),
        _ => None,
    };
    let in_the_way = |held: &&Held| match (&at_path, &held.socket.0) {
        // The file decides, however each side spells its path.
        (Some(AtPath { file: PathFile::Socket(inode, ..), device }), socket)
            if socket.path_inode != 0 =>
        {
            socket.path_inode == *inode && device.is_none_or(|device| device == socket.path_device)
        }
        _ => conflicts(&question.asker, &held.socket),
    };
    let mut held: Vec<&Held> = snapshot.sockets.iter().filter(in_the_way).collect();
    held.sort_by_key(|held| held.socket.0.state != STATE_LISTEN);
    answer.held = held.into_iter().map(|held| found(held, known)).collect();
    answer.file = at_path.map(|found| found.file);
    answer.zombies = procfs::zombie_children(question.ppid);
    answer.zombies.extend(procfs::zombie_children(question.pid));
    // Whoever was refused may have ended for it, and is nobody's obstacle.
    answer.zombies.retain(|(pid, _)| *pid != question.pid);
    let files = match question.asker.socket.0.protocol {
        17 => connections::UDP,
        _ => connections::TCP,
    };
    if let Some(port) = question.asker.asked.port() {
        answer.connections = unowned(question, port, files, snapshot, tables);
        if port == 0 {
            let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
            answer.port_range =
                range.ok().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" to "));
        }
    }
    answer
}

fn found(held: &Held, known: &mut Known) -> Found {
    let holders = held.holders.iter().map(|holder| (*holder, known.living(holder.id())));
    Found { socket: held.socket, holders: holders.collect() }
}

/// Connections on the port that no process has open and whose addresses meet.
fn unowned(
    question: &Question,
    port: u16,
    files: [&'static str; 2],
    snapshot: &Snapshot,
    tables: &mut Tables,
) -> Option<Vec<Connection>> {
    let netns = question.asker.socket.0.netns;
    let pid = [question.pid, std::process::id(), question.ppid]
        .into_iter()
        .find(|pid| netns_of(*pid) == Some(netns))?;
    let Endpoint::Inet(asked, _) = question.asker.asked else { return None };
    let rows = tables.on_port((netns, pid), port, files)?;
    let meets = |row: &Connection| {
        addresses_meet(asked, question.asker.socket.v6only(), row.address, false)
    };
    // SO_REUSEADDR on both sides would let it pass; the rows don't tell whether they had it, but the kernel refused.
    Some(
        rows.into_iter()
            .filter(|row| {
                meets(row)
                    && (row.inode == 0
                        || (matches!(row.state, STATE_LISTEN | STATE_CLOSE)
                            && !snapshot.has_inode(row.inode)))
            })
            .collect(),
    )
}
