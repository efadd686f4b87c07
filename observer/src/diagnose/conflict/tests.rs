//! The kernel's rules, one by one. The live tests show that the kernel agrees.

use observer_common::socket::{
    PROTOCOL_MPTCP, SOCKET_REUSEADDR, SOCKET_REUSEPORT, SOCKET_V6ONLY, STATE_CLOSE,
    STATE_ESTABLISHED, STATE_LISTEN, SocketRecord,
};
use zerocopy::FromZeros;

use super::{Asker, conflicts};
use crate::decode::{Endpoint, KernelSocket};

const TCP: u16 = 6;
const UDP: u16 = 17;

fn socket(protocol: u16, address: &str, state: u8, flags: u8) -> KernelSocket {
    let mut record = SocketRecord::new_zeroed();
    let address: std::net::IpAddr = address.parse().expect("an address");
    match address {
        std::net::IpAddr::V4(v4) => {
            record.family = 2;
            record.address[..4].copy_from_slice(&v4.octets());
        }
        std::net::IpAddr::V6(v6) => {
            record.family = 10;
            record.address = v6.octets();
        }
    }
    record.sk = 1;
    record.netns = 1;
    record.protocol = protocol;
    record.kind = if protocol == UDP { 2 } else { 1 };
    record.port = 80;
    record.state = state;
    record.flags = flags;
    KernelSocket(record)
}

fn asker(protocol: u16, address: &str, flags: u8) -> Asker {
    let mut own = socket(protocol, address, STATE_CLOSE, flags);
    let asked = own.endpoint();
    own.0.sk = 2;
    own.0.port = 0;
    own.0.address = [0; 16];
    Asker { socket: own, asked }
}

fn tcp(asked: &str, asked_flags: u8, held: &str, held_flags: u8) -> bool {
    conflicts(&asker(TCP, asked, asked_flags), &socket(TCP, held, STATE_LISTEN, held_flags))
}

#[test]
fn addresses() {
    assert!(tcp("127.0.0.1", 0, "127.0.0.1", 0));
    assert!(!tcp("127.0.0.1", 0, "127.0.0.2", 0));
    assert!(tcp("127.0.0.1", 0, "0.0.0.0", 0));
    assert!(tcp("0.0.0.0", 0, "127.0.0.1", 0));
    assert!(tcp("127.0.0.1", 0, "::", 0));
    assert!(!tcp("127.0.0.1", 0, "::", SOCKET_V6ONLY));
    assert!(tcp("::", 0, "127.0.0.1", 0));
    assert!(!tcp("::", SOCKET_V6ONLY, "127.0.0.1", 0));
    assert!(!tcp("0.0.0.0", 0, "::1", SOCKET_V6ONLY));
    assert!(!tcp("::1", 0, "0.0.0.0", 0));
    assert!(tcp("::1", 0, "::", SOCKET_V6ONLY));
    assert!(tcp("::ffff:127.0.0.1", 0, "127.0.0.1", 0));
}

#[test]
fn another_port_protocol_device_or_namespace_is_none() {
    let base = asker(TCP, "0.0.0.0", 0);
    let held = socket(TCP, "0.0.0.0", STATE_LISTEN, 0);
    assert!(conflicts(&base, &held));
    for change in [
        |r: &mut SocketRecord| r.port = 81,
        |r: &mut SocketRecord| r.protocol = UDP,
        |r: &mut SocketRecord| r.netns = 2,
    ] {
        let mut other = held;
        change(&mut other.0);
        assert!(!conflicts(&base, &other));
    }
    let (mut on_one, mut on_two) = (base, held);
    on_one.socket.0.device = 1;
    assert!(conflicts(&on_one, &on_two));
    on_two.0.device = 2;
    assert!(!conflicts(&on_one, &on_two));
}

#[test]
fn reuseaddr_helps_unless_the_other_listens() {
    let base = asker(TCP, "127.0.0.1", SOCKET_REUSEADDR);
    let held = |state, flags| socket(TCP, "127.0.0.1", state, flags);
    assert!(conflicts(&base, &held(STATE_LISTEN, SOCKET_REUSEADDR)));
    assert!(!conflicts(&base, &held(STATE_CLOSE, SOCKET_REUSEADDR)));
    assert!(!conflicts(&base, &held(STATE_ESTABLISHED, SOCKET_REUSEADDR)));
    assert!(conflicts(&base, &held(STATE_ESTABLISHED, 0)));
    assert!(!conflicts(
        &asker(UDP, "127.0.0.1", SOCKET_REUSEADDR),
        &socket(UDP, "127.0.0.1", STATE_CLOSE, SOCKET_REUSEADDR)
    ));
}

#[test]
fn reuseport_needs_both_and_the_same_user() {
    assert!(!tcp("127.0.0.1", SOCKET_REUSEPORT, "127.0.0.1", SOCKET_REUSEPORT));
    assert!(tcp("127.0.0.1", SOCKET_REUSEPORT, "127.0.0.1", 0));
    let mut held = socket(TCP, "127.0.0.1", STATE_LISTEN, SOCKET_REUSEPORT);
    held.0.uid = 1000;
    assert!(conflicts(&asker(TCP, "127.0.0.1", SOCKET_REUSEPORT), &held));
}

#[test]
fn mptcp_shares_the_ports_of_tcp() {
    let held = socket(PROTOCOL_MPTCP, "0.0.0.0", STATE_LISTEN, 0);
    assert!(conflicts(&asker(TCP, "0.0.0.0", 0), &held));
}

#[test]
fn unix_names() {
    let mut record = SocketRecord::new_zeroed();
    record.family = 1;
    record.netns = 1;
    record.name[..4].copy_from_slice(b"\0abc");
    record.name_len = 4;
    let held = KernelSocket(record);
    let mut asker = Asker { socket: held, asked: Endpoint::Abstract(b"abc".to_vec()) };
    assert!(conflicts(&asker, &held));
    asker.socket.0.netns = 2;
    assert!(!conflicts(&asker, &held));
    asker.asked = Endpoint::Path(b"/run/a".to_vec());
    assert!(!conflicts(&asker, &held));
}
