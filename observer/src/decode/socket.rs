//! Decodes sockets, the outcome of a bind or a listen, and what a scan yields.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use observer_common::{
    socket::{
        BindRecord, CALL_BIND, HeldRecord, HolderRecord, PROTOCOL_MPTCP, SOCKET_PORT_CHOSEN,
        SOCKET_REUSEADDR, SOCKET_REUSEPORT, SOCKET_V6ONLY, STATE_CLOSE, STATE_LISTEN, SocketRecord,
        UNIX_NAME,
    },
    task::OTHER_ARGS_MAX,
};
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes;

use super::{DecodeError, RepeatKey, Task, TaskId, cursor::Cursor, raw};

/// `AF_UNIX`.
pub(super) const AF_UNIX: u16 = 1;
/// `AF_INET`.
pub(super) const AF_INET: u16 = 2;
/// `AF_INET6`.
pub(super) const AF_INET6: u16 = 10;
/// `SOCK_DGRAM`.
pub(super) const SOCK_DGRAM: u16 = 2;

/// First port that the kernel chooses for sockets without one, unless `ip_local_port_range` was set.
const EPHEMERAL: u16 = 32768;

/// The address that a socket is bound to, or was asked to bind to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// An address and a port.
    Inet(IpAddr, u16),
    /// A path in the file system.
    Path(#[serde(with = "raw::bytes")] Vec<u8>),
    /// A name in the network namespace's table of abstract names.
    Abstract(#[serde(with = "raw::bytes")] Vec<u8>),
    /// No address could be read, or none was given.
    Unknown,
}

impl Endpoint {
    /// The port of an internet address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(_, port) => Some(*port),
            _ => None,
        }
    }
}

/// A socket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct KernelSocket(#[serde(with = "raw")] pub SocketRecord);

impl KernelSocket {
    /// Where it is bound.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let record = &self.0;
        match record.family {
            AF_INET => {
                let [a, b, c, d, ..] = record.address;
                Endpoint::Inet(Ipv4Addr::new(a, b, c, d).into(), record.port)
            }
            AF_INET6 => Endpoint::Inet(Ipv6Addr::from(record.address).into(), record.port),
            AF_UNIX => unix_name(&record.name[..usize::from(record.name_len).min(UNIX_NAME)]),
            _ => Endpoint::Unknown,
        }
    }

    /// SO_REUSEADDR.
    #[must_use]
    pub fn reuseaddr(&self) -> bool {
        self.0.flags & SOCKET_REUSEADDR != 0
    }

    /// SO_REUSEPORT.
    #[must_use]
    pub fn reuseport(&self) -> bool {
        self.0.flags & SOCKET_REUSEPORT != 0
    }

    /// Takes no IPv4.
    #[must_use]
    pub fn v6only(&self) -> bool {
        self.0.flags & SOCKET_V6ONLY != 0
    }

    /// Whether the kernel chose its port: bind(2) did not name it.
    #[must_use]
    pub fn ephemeral(&self) -> bool {
        let record = &self.0;
        // A connection has its listener's port, or any. MPTCP sockets lack the flag: only the number shows it.
        record.port != 0
            && matches!(record.state, STATE_LISTEN | STATE_CLOSE)
            && record.flags & SOCKET_PORT_CHOSEN == 0
            && (record.protocol != PROTOCOL_MPTCP || record.port >= EPHEMERAL)
    }

    /// A datagram socket.
    #[must_use]
    pub fn datagram(&self) -> bool {
        self.0.kind == SOCK_DGRAM
    }

    /// Whether it serves: it listens, or takes datagrams on a port or path of its own choice.
    #[must_use]
    pub fn serves(&self) -> bool {
        if !self.datagram() {
            return self.0.state == STATE_LISTEN;
        }
        // A connected datagram socket is a client.
        self.0.state == STATE_CLOSE
            && match self.endpoint() {
                Endpoint::Inet(_, port) => port != 0 && !self.ephemeral(),
                Endpoint::Path(_) | Endpoint::Abstract(_) => true,
                Endpoint::Unknown => false,
            }
    }
}

/// Outcome of a bind or a listen, or the end of a listener.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// The fixed part.
    pub record: BindRecord,
    /// The socket after the call.
    pub socket: KernelSocket,
    /// The address asked for; for a listen, the socket's own.
    pub asked: Endpoint,
    /// The caller.
    pub task: Task,
    /// How many others were refused the same since the last event of it, and are not told.
    pub repeats: u64,
}

impl Bind {
    /// Of a refusal: what the kernel side counts others by; `None` when it counts none.
    #[must_use]
    pub fn repeat_key(&self) -> Option<RepeatKey> {
        RepeatKey::of(&self.record.key)
    }

    /// A copy to keep: it shares no memory with the drain that it came in, and its arguments are cut at [`OTHER_ARGS_MAX`].
    #[must_use]
    pub fn detached(&self) -> Self {
        let mut copy = self.clone();
        let args = &self.task.args[..self.task.args.len().min(OTHER_ARGS_MAX as usize)];
        copy.task.args = Bytes::copy_from_slice(args);
        copy
    }
}

pub(super) fn decode_bind(cursor: &mut Cursor<'_>) -> Result<Bind, DecodeError> {
    let record: BindRecord = cursor.fixed()?;
    let task = Task::decode(cursor)?;
    let socket = KernelSocket(record.socket);
    let len = usize::from(record.asked_len).min(record.asked.len());
    let asked = match sockaddr(&record.asked[..len]) {
        // After a failed bind, the socket's own address is not the one asked for.
        Endpoint::Unknown if record.call != CALL_BIND || record.result == 0 => socket.endpoint(),
        asked => asked,
    };
    Ok(Bind { time_ns: record.header.time_ns, record, socket, asked, task, repeats: 0 })
}

/// Decodes a `struct sockaddr` of the IPv4, IPv6 and unix families.
fn sockaddr(bytes: &[u8]) -> Endpoint {
    let Some((family, rest)) = bytes.split_first_chunk::<2>() else { return Endpoint::Unknown };
    let port = rest.first_chunk::<2>().map(|port| u16::from_be_bytes(*port));
    match (u16::from_ne_bytes(*family), port) {
        (AF_INET, Some(port)) => match rest.get(2..6).and_then(|a| <[u8; 4]>::try_from(a).ok()) {
            Some(address) => Endpoint::Inet(Ipv4Addr::from(address).into(), port),
            None => Endpoint::Unknown,
        },
        // The flow label is between port and address.
        (AF_INET6, Some(port)) => {
            match rest.get(6..22).and_then(|a| <[u8; 16]>::try_from(a).ok()) {
                Some(address) => Endpoint::Inet(Ipv6Addr::from(address).into(), port),
                None => Endpoint::Unknown,
            }
        }
        (AF_UNIX, _) => unix_name(rest),
        _ => Endpoint::Unknown,
    }
}

fn unix_name(bytes: &[u8]) -> Endpoint {
    match bytes {
        [] => Endpoint::Unknown,
        [0, name @ ..] => Endpoint::Abstract(name.to_vec()),
        path => Endpoint::Path(super::task::until_nul(path).to_vec()),
    }
}

/// One descriptor of one process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Descriptor {
    /// The fixed part.
    #[serde(with = "raw")]
    pub record: HolderRecord,
}

impl Descriptor {
    /// The process.
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId { tgid: self.record.tgid, start_ns: self.record.start_time_ns }
    }
}

/// Decodes the whole records of what the iterator yielded; returns the bytes of an incomplete last one.
pub fn decode_holders(bytes: &[u8], mut each: impl FnMut(KernelSocket, Descriptor)) -> &[u8] {
    let (records, rest) = bytes.as_chunks::<{ size_of::<HeldRecord>() }>();
    for record in records {
        // Never an error: every chunk has the size of a record.
        if let Ok(HeldRecord { socket, holder }) = HeldRecord::read_from_bytes(record) {
            each(KernelSocket(socket), Descriptor { record: holder });
        }
    }
    rest
}
