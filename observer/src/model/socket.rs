//! The public form of a socket.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A socket: an address and a port, or a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Socket {
    /// Its protocol.
    pub protocol: Protocol,
    /// It is an MPTCP socket, which shares the ports of TCP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mptcp: bool,
    /// Its local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its local port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The kernel chose that port: bind(2) did not name it. Absent for connections.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// Path of a unix socket; an abstract name begins with `@`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The original bytes of `path` where they are not UTF-8; an abstract name begins with NUL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// Inode number of its network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// Its state, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SocketState>,
}

/// Protocols that are watched.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP, and MPTCP.
    Tcp,
    /// UDP.
    Udp,
    /// Unix sockets.
    Unix,
    /// Another protocol over IP.
    Other,
}

/// States of a socket, named as TCP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SocketState {
    /// Serving: connections are accepted, or datagrams received.
    Listen,
    /// Bound, but not serving.
    Bound,
    /// Not bound.
    Unbound,
    /// A connection.
    Established,
    /// Closed by this side.
    FinWait1,
    /// Closed by this side, and the other side knows.
    FinWait2,
    /// Closed by the other side only.
    CloseWait,
    /// Closed by both sides, the last packet is not acknowledged.
    LastAck,
    /// Closed by both sides at once.
    Closing,
    /// Waiting for late packets.
    TimeWait,
    /// Another state.
    Other,
}

impl Socket {
    /// `tcp 127.0.0.1:8080`, `udp [::]:53`, `/run/php/fpm.sock`.
    #[must_use]
    pub fn name(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp if self.mptcp => "mptcp ",
            Protocol::Tcp => "tcp ",
            Protocol::Udp => "udp ",
            Protocol::Unix | Protocol::Other => "",
        };
        match (&self.address, self.port, &self.path) {
            (Some(IpAddr::V6(address)), Some(port), _) => format!("{protocol}[{address}]:{port}"),
            (Some(address), Some(port), _) => format!("{protocol}{address}:{port}"),
            (.., Some(path)) => path.clone(),
            _ => "an unnamed socket".to_owned(),
        }
    }
}
