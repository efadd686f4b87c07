//! Reads `/proc/PID/net/tcp` and `udp` for sockets that no descriptor leads to, which a scan can't see: TIME_WAIT, for one.
//!
//! **Bounded:** keeps [`ROWS`] rows of a namespace, of the ports that were asked for only.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// A row of `/proc/PID/net/tcp` or `tcp6`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Local address.
    pub address: IpAddr,
    /// Local port.
    pub port: u16,
    /// `STATE_` constant.
    pub state: u8,
    /// Seconds until its timer ends; for TIME_WAIT, until the kernel drops it.
    pub timer_seconds: f64,
    /// Inode number of the socket; 0 when no process has it open.
    pub inode: u64,
    /// How many there are like it.
    #[serde(default = "one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

/// Most rows of one namespace that are kept: 64 bytes each.
const ROWS: usize = 1 << 16;

/// Rows of which several are alike, once each: those without an inode by their state, with the longest timer. Others, which serve
/// or did, are kept up to 64.
#[must_use]
pub fn summed<'a>(rows: impl Iterator<Item = &'a Connection>) -> Vec<Connection> {
    let mut sums: Vec<Connection> = Vec::new();
    for row in rows {
        let alike =
            |sum: &&mut Connection| sum.state == row.state && (sum.inode == 0) == (row.inode == 0);
        let serves = row.inode != 0 && sums.len() < 64;
        match sums.iter_mut().find(alike).filter(|_| !serves) {
            Some(sum) => {
                sum.count += row.count;
                sum.timer_seconds = sum.timer_seconds.max(row.timer_seconds);
            }
            None => sums.push(row.clone()),
        }
    }
    sums
}

/// Clock ticks a second in `/proc`.
const TICKS: f64 = 100.0;

/// Files of TCP.
pub const TCP: [&str; 2] = ["tcp", "tcp6"];
/// Files of UDP.
pub const UDP: [&str; 2] = ["udp", "udp6"];

/// The tables of network namespaces, each read once: a crash loop asks for many ports at a time, and the kernel walks its
/// whole hash table for each read.
#[derive(Debug)]
pub struct Tables {
    ports: HashSet<u16>,
    read: HashMap<(u32, [&'static str; 2]), Option<ByPort>>,
}

type ByPort = HashMap<u16, Vec<Connection>>;

impl Tables {
    /// Tables that keep the rows of these ports only.
    #[must_use]
    pub fn of(ports: impl IntoIterator<Item = u16>) -> Self {
        Self { ports: ports.into_iter().collect(), read: HashMap::new() }
    }

    /// Every socket on one of the ports in the network namespace `netns`, which is that of process `pid`; `None` when
    /// that process is gone.
    pub fn on_port(
        &mut self,
        (netns, pid): (u32, u32),
        port: u16,
        files: [&'static str; 2],
    ) -> Option<&[Connection]> {
        Some(self.of_netns((netns, pid), files)?.get(&port).map_or(&[], Vec::as_slice))
    }

    /// The inode numbers of all of them.
    pub fn inodes(&mut self, namespace: (u32, u32), files: [&'static str; 2]) -> HashSet<u64> {
        let rows = self.of_netns(namespace, files).into_iter().flat_map(HashMap::values).flatten();
        rows.map(|row| row.inode).collect()
    }

    fn of_netns(&mut self, (netns, pid): (u32, u32), files: [&'static str; 2]) -> Option<&ByPort> {
        let read = self.read.entry((netns, files)).or_insert_with(|| {
            let mut by_port = ByPort::new();
            for row in read(pid, &self.ports, files)? {
                by_port.entry(row.port).or_default().push(row);
            }
            Some(by_port)
        });
        read.as_ref()
    }
}

fn read(pid: u32, ports: &HashSet<u16>, files: [&str; 2]) -> Option<Vec<Connection>> {
    let mut found = Vec::new();
    let mut read = false;
    for name in files {
        if let Ok(file) = File::open(format!("/proc/{pid}/net/{name}")) {
            read = true;
            collect(BufReader::new(file), ports, &mut found);
        }
    }
    read.then_some(found)
}

fn collect(mut rows: impl BufRead, ports: &HashSet<u16>, found: &mut Vec<Connection>) {
    let mut line = String::new();
    while rows.read_line(&mut line).is_ok_and(|n| n > 0) {
        // A busy server has many rows: compare the port before parsing the rest.
        let port = line.split_ascii_whitespace().nth(1).and_then(|local| local.split_once(':'));
        let port = port.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        if found.len() < ROWS
            && port.is_some_and(|port| ports.contains(&port))
            && let Some(row) = parse(&line)
        {
            found.push(row);
        }
        line.clear();
    }
}

/// `sl local remote state queues timer retransmits uid timeout inode …`, numbers in hexadecimal but the last ones.
fn parse(line: &str) -> Option<Connection> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let (_, when) = fields.get(5)?.split_once(':')?;
    let ticks = u32::from_str_radix(when, 16).ok()?;
    Some(Connection {
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        timer_seconds: f64::from(ticks) / TICKS,
        inode: fields.get(9)?.parse().ok()?,
        count: 1,
    })
}

/// An address of one or four 32-bit words in the machine's byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |n: usize| {
        let digits = hex.get(n * 8..n * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for n in 0..4 {
                bytes[n * 4..n * 4 + 4].copy_from_slice(&word(n)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{collect, parse_address, summed};

    const ROWS: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0
   1: 0100007F:1F90 0100007F:D431 06 00000000:00000000 03:0000176F 00000000     0        0 0 3 0
   2: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0
";

    #[test]
    fn rows_match_by_local_port_only() {
        let mut found = Vec::new();
        collect(ROWS.as_bytes(), &[0x1f90].into(), &mut found);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].state, found[0].inode), (10, 4711));
        assert_eq!((found[1].state, found[1].inode), (6, 0));
        assert!((found[1].timer_seconds - 59.99).abs() < 0.001);
        assert_eq!(found[0].address.to_string(), "127.0.0.1");
    }

    #[test]
    fn rows_that_are_alike_are_counted() {
        let mut found = Vec::new();
        collect(ROWS.repeat(3).as_bytes(), &[0x1f90].into(), &mut found);
        let sums = summed(found.iter().filter(|row| row.inode == 0));
        assert_eq!(sums.iter().map(|sum| sum.count).collect::<Vec<_>>(), [3]);
        assert!((sums[0].timer_seconds - 59.99).abs() < 0.001);
        // A listener is not mixed up with those that nobody has open.
        assert_eq!(summed(found.iter()).iter().filter(|sum| sum.inode == 4711).count(), 3);
    }

    #[test]
    fn addresses() {
        let six = parse_address("00000000000000000000000001000000").map(|a| a.to_string());
        assert_eq!(six.as_deref(), Some("::1"));
        assert_eq!(parse_address("zz"), None);
    }
}
