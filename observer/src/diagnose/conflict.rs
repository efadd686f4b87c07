//! Which sockets are in each other's way: the kernel's own rules.
//!
//! TCP: `inet_bind_conflict` (net/ipv4/inet_connection_sock.c) as bind and listen with a port of their choice call it;
//! UDP: `inet_rcv_saddr_equal` under `udp_lib_lport_inuse` (net/ipv4/udp.c); addresses: `inet_rcv_saddr_equal`.

use std::net::IpAddr;

use observer_common::socket::{PROTOCOL_MPTCP, STATE_LISTEN, STATE_TIME_WAIT};
use serde::{Deserialize, Serialize};

use crate::decode::{Endpoint, KernelSocket};

/// The socket that was refused, and what it asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asker {
    /// The socket after the call.
    pub socket: KernelSocket,
    /// The address asked for.
    pub asked: Endpoint,
}

/// Whether `held` keeps the asker from what it asked for.
#[must_use]
pub fn conflicts(asker: &Asker, held: &KernelSocket) -> bool {
    let (mine, other) = (&asker.socket.0, &held.0);
    if mine.netns != other.netns && mine.netns != 0 {
        // The file system is shared where network namespaces are not.
        return matches!(asker.asked, Endpoint::Path(_)) && same_name(asker, held);
    }
    match (&asker.asked, held.endpoint()) {
        (Endpoint::Inet(address, port), Endpoint::Inet(other_address, other_port)) => {
            *port == other_port
                && same_ports(mine.protocol, other.protocol)
                && mine.sk != other.sk
                && devices_meet(mine.device, other.device)
                && addresses_meet(*address, v6only(asker), other_address, held.v6only())
                && !may_share(&asker.socket, held)
        }
        _ => same_name(asker, held),
    }
}

/// A specific IPv6 address is set to IPV6_V6ONLY by bind itself, but only when it succeeds (`__inet6_bind`).
fn v6only(asker: &Asker) -> bool {
    let specific = match &asker.asked {
        Endpoint::Inet(IpAddr::V6(v6), _) => !v6.is_unspecified() && v6.to_ipv4_mapped().is_none(),
        _ => false,
    };
    asker.socket.v6only() || specific
}

/// MPTCP shares the ports of TCP.
fn same_ports(a: u16, b: u16) -> bool {
    let of = |protocol| if protocol == PROTOCOL_MPTCP { 6 } else { protocol };
    of(a) == of(b)
}

fn devices_meet(a: u32, b: u32) -> bool {
    a == 0 || b == 0 || a == b
}

/// SO_REUSEADDR on both and the other not listening (TCP) or at all (UDP), or SO_REUSEPORT on both and the same user.
fn may_share(asker: &KernelSocket, held: &KernelSocket) -> bool {
    let reuseaddr = asker.reuseaddr() && held.reuseaddr();
    let same_user = held.0.state == STATE_TIME_WAIT || asker.0.uid == held.0.uid;
    let reuseport = asker.reuseport() && held.reuseport() && same_user;
    (reuseaddr && (held.datagram() || held.0.state != STATE_LISTEN)) || reuseport
}

/// Whether two local addresses take each other's traffic.
#[must_use]
pub fn addresses_meet(a: IpAddr, a_v6only: bool, b: IpAddr, b_v6only: bool) -> bool {
    let four = |address: IpAddr| match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
    };
    match (four(a), four(b)) {
        (Some(a), Some(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        // `[::]` takes IPv4 as well unless it says otherwise; a specific IPv6 address never does.
        (Some(_), None) => b.is_unspecified() && !b_v6only,
        (None, Some(_)) => a.is_unspecified() && !a_v6only,
        (None, None) => a == b || a.is_unspecified() || b.is_unspecified(),
    }
}

/// Unix sockets: the same name.
fn same_name(asker: &Asker, held: &KernelSocket) -> bool {
    match (&asker.asked, held.endpoint()) {
        (Endpoint::Abstract(a), Endpoint::Abstract(b)) | (Endpoint::Path(a), Endpoint::Path(b)) => {
            *a == b
        }
        _ => false,
    }
}

/// Why two sockets with SO_REUSEADDR or SO_REUSEPORT in play still are in each other's way, in words.
#[must_use]
pub fn sharing(asker: &KernelSocket, held: &KernelSocket) -> Option<String> {
    let held_or_asker = |held: bool, asker: bool| match (held, asker) {
        (true, false) => Some("the holder"),
        (false, true) => Some("the process that was refused"),
        _ => None,
    };
    if asker.reuseport() && held.reuseport() && asker.0.uid != held.0.uid {
        return Some(format!(
            "both have SO_REUSEPORT, but belong to different users ({} and {})",
            held.0.uid, asker.0.uid
        ));
    }
    if let Some(who) = held_or_asker(held.reuseport(), asker.reuseport()) {
        return Some(format!("only {who} has SO_REUSEPORT: a port is shared only when both do"));
    }
    if asker.reuseaddr() && held.reuseaddr() && held.0.state == STATE_LISTEN {
        return Some(
            "both have SO_REUSEADDR, which does not help against a socket that listens".to_owned(),
        );
    }
    if held.0.state != STATE_LISTEN
        && let Some(who) = held_or_asker(held.reuseaddr(), asker.reuseaddr())
    {
        return Some(format!("only {who} has SO_REUSEADDR: both would need it"));
    }
    None
}

/// Why two different addresses meet, in words; `None` when they are the same.
#[must_use]
pub fn overlap(asked: &Endpoint, held: &Endpoint) -> Option<String> {
    let (Endpoint::Inet(a, _), Endpoint::Inet(b, _)) = (asked, held) else { return None };
    // `::ffff:127.0.0.1` is 127.0.0.1.
    let (a, b) = (a.to_canonical(), b.to_canonical());
    if a == b {
        return None;
    }
    Some(match (a, b) {
        (_, IpAddr::V6(v6)) if v6.is_unspecified() && a.is_ipv4() => {
            "[::] takes IPv4 too, unless IPV6_V6ONLY is set".to_owned()
        }
        (IpAddr::V6(v6), _) if v6.is_unspecified() && b.is_ipv4() => {
            format!(
                "it asked for [::], which takes IPv4 too, and so {b}, unless IPV6_V6ONLY is set"
            )
        }
        (_, b) if b.is_unspecified() => format!("{b} covers every address, {a} too"),
        _ => format!("it asked for {a}, which covers every address, {b} too"),
    })
}

#[cfg(test)]
mod tests;
