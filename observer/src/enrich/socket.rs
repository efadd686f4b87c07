//! Turns the kernel side's picture of a socket into a public [`Socket`].
//!
//! **Invariant:** no I/O.

use observer_common::socket::{
    PROTOCOL_MPTCP, STATE_CLOSE, STATE_CLOSE_WAIT, STATE_CLOSING, STATE_ESTABLISHED,
    STATE_FIN_WAIT1, STATE_FIN_WAIT2, STATE_LAST_ACK, STATE_LISTEN, STATE_TIME_WAIT,
};

use crate::{
    decode::{self, Endpoint},
    model::{Protocol, Socket, SocketState, hex_of_non_utf8, lossy},
};

/// The socket where it is bound.
#[must_use]
pub fn bound(socket: &decode::KernelSocket) -> Socket {
    at(socket, &socket.endpoint())
}

/// The socket as if it were bound to `endpoint`.
#[must_use]
pub fn at(socket: &decode::KernelSocket, endpoint: &Endpoint) -> Socket {
    let record = &socket.0;
    let mut this = Socket {
        protocol: protocol(socket),
        mptcp: record.protocol == PROTOCOL_MPTCP,
        address: None,
        port: None,
        ephemeral: false,
        path: None,
        path_hex: None,
        netns: (record.netns != 0).then_some(record.netns),
        state: Some(state(socket)),
    };
    match endpoint {
        Endpoint::Inet(address, port) => {
            this.address = Some(*address);
            this.port = Some(*port);
            // A refused socket is bound to no port, or to another one.
            this.ephemeral = *port == record.port && socket.ephemeral();
        }
        Endpoint::Path(path) => {
            this.path = Some(lossy(path));
            this.path_hex = hex_of_non_utf8(path);
        }
        Endpoint::Abstract(name) => {
            this.path = Some(format!("@{}", lossy(name)));
            this.path_hex = hex_of_non_utf8(name).map(|hex| format!("00{hex}"));
        }
        Endpoint::Unknown => {}
    }
    this
}

fn protocol(socket: &decode::KernelSocket) -> Protocol {
    match (socket.0.family, socket.0.protocol) {
        (1, _) => Protocol::Unix,
        (_, 6 | PROTOCOL_MPTCP) => Protocol::Tcp,
        (_, 17) => Protocol::Udp,
        _ => Protocol::Other,
    }
}

fn state(socket: &decode::KernelSocket) -> SocketState {
    let bound = socket.0.port != 0 || socket.0.name_len != 0;
    match socket.0.state {
        // A datagram socket serves as soon as it is bound.
        STATE_CLOSE if bound && socket.datagram() => SocketState::Listen,
        STATE_CLOSE if bound => SocketState::Bound,
        STATE_CLOSE => SocketState::Unbound,
        STATE_LISTEN => SocketState::Listen,
        STATE_ESTABLISHED => SocketState::Established,
        STATE_FIN_WAIT1 => SocketState::FinWait1,
        STATE_FIN_WAIT2 => SocketState::FinWait2,
        STATE_CLOSE_WAIT => SocketState::CloseWait,
        STATE_LAST_ACK => SocketState::LastAck,
        STATE_CLOSING => SocketState::Closing,
        STATE_TIME_WAIT => SocketState::TimeWait,
        _ => SocketState::Other,
    }
}
