//! Answers "who is in the way" for refused binds: one scan, then a few files of `/proc`. Blocks.

use std::fs;

use observer_common::socket::{STATE_CLOSE, STATE_LISTEN};

use crate::{
    decode::Endpoint,
    diagnose::{
        answer::{Answer, HeldSocket, Question},
        conflict::{addresses_meet, conflicts},
    },
    enrich::{
        connections::{self, Connection, Tables},
        path_file::{AtPath, PathFile, look_at},
        procfs::{self, ProcessCache},
        scan::{Held, Scan},
        unheld::netns_of,
    },
};

const EADDRINUSE: u32 = 98;

/// Answers one question from a scan that had its port marked.
#[must_use]
pub(super) fn answer(
    scan: &Scan,
    question: &Question,
    known: &mut ProcessCache,
    tables: &mut Tables,
) -> Answer {
    let mut answer = Answer { began_ns: scan.began_ns, ..Answer::default() };
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
    let mut held: Vec<&Held> = scan.sockets.iter().filter(in_the_way).collect();
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
        answer.connections = unowned(question, port, files, scan, tables);
        if port == 0 {
            let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
            answer.port_range =
                range.ok().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" to "));
        }
    }
    answer
}

fn found(held: &Held, known: &mut ProcessCache) -> HeldSocket {
    let holders = held.holders.iter().map(|holder| (*holder, known.living(holder.id())));
    HeldSocket { socket: held.socket, holders: holders.collect() }
}

/// Connections on the port that no process has open and whose addresses meet.
fn unowned(
    question: &Question,
    port: u16,
    files: [&'static str; 2],
    scan: &Scan,
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
                            && !scan.has_inode(row.inode)))
            })
            .collect(),
    )
}
