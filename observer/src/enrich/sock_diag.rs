//! Asks the kernel for the sockets on given ports (sock_diag(7)): `/proc/net/tcp` lists every socket, as text.
//!
//! **Bounded:** one buffer of 32 KiB.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd as _,
    thread,
};

use rustix::{
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
        socket_with,
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::connections::Connection;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// The header and `struct inet_diag_req_v2`.
const REQUEST: usize = HEADER + 56;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;

/// Sockets of the protocol (`IPPROTO_`) in this state on one of the ports, in the network namespace of process `pid`, or in
/// our own. Fails if the kernel has no sock_diag, or does not let us enter that namespace.
pub fn on_ports(
    ports: &[u16],
    protocol: u8,
    state: u8,
    pid: Option<u32>,
) -> io::Result<Vec<Connection>> {
    let Some(pid) = pid else { return here(ports, protocol, state) };
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let ports = ports.to_owned();
    // A socket belongs to the namespace of the thread that opens it, so a thread of its own enters the namespace.
    let there = thread::Builder::new().spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        here(&ports, protocol, state)
    })?;
    there
        .join()
        .map_err(|_panic| io::Error::other("the thread in another network namespace panicked"))?
}

fn here(ports: &[u16], protocol: u8, state: u8) -> io::Result<Vec<Connection>> {
    let flags = SocketFlags::CLOEXEC;
    let kernel =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    for port in ports {
        for family in [AF_INET, AF_INET6] {
            send(&kernel, &request(family, protocol, state, *port), SendFlags::empty())?;
            loop {
                let (_, length) = recv(&kernel, buffer.as_mut_slice(), RecvFlags::empty())?;
                if collect(buffer.get(..length).unwrap_or(&buffer), &mut found)? {
                    break;
                }
            }
        }
    }
    // The kernel filters by state and port; older kernels may not.
    found.retain(|row| row.state == state && ports.contains(&row.port));
    Ok(found)
}

/// A request for one port: the kernel skips the others while it walks its tables.
fn request(family: u8, protocol: u8, state: u8, port: u16) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    let mut put = |at: usize, part: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
    };
    put(0, &u32::try_from(REQUEST).unwrap_or_default().to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    put(HEADER, &[family, protocol]);
    put(HEADER + 4, &(1_u32 << state).to_ne_bytes());
    put(HEADER + 8, &port.to_be_bytes());
    bytes
}

/// Adds the rows of one datagram to `found`; true if it was the last datagram.
fn collect(mut bytes: &[u8], found: &mut Vec<Connection>) -> io::Result<bool> {
    while let Some(length) = word(bytes, 0) {
        let length = length as usize;
        let kind = half(bytes, 4).unwrap_or(NLMSG_DONE);
        if length < HEADER || length > bytes.len() {
            return Err(io::Error::other("sock_diag: a message with an impossible length"));
        }
        let body = bytes.get(HEADER..length).unwrap_or_default();
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let errno = word(body, 0).unwrap_or(0).cast_signed();
                return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
            }
            _ => found.extend(row(body)),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Family, state, timer, retransmits; ports in network order; two addresses of 16 bytes; … inode.
fn row(body: &[u8]) -> Option<Connection> {
    if body.len() < MESSAGE {
        return None;
    }
    let address = match *body.first()? {
        AF_INET => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(8..12)?).ok()?)),
        AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(body.get(8..24)?).ok()?).into(),
        _ => return None,
    };
    Some(Connection {
        count: 1,
        address,
        port: u16::from_be_bytes(body.get(4..6)?.try_into().ok()?),
        state: *body.get(1)?,
        timer_seconds: f64::from(word(body, 52)?) / 1000.0,
        inode: word(body, 68)?.into(),
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
        os::{fd::AsFd as _, linux::fs::MetadataExt as _},
    };

    use super::{collect, on_ports};

    #[test]
    fn only_the_listener_on_the_port_is_found() {
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let port = four.local_addr().expect("its address").port();
        let found = on_ports(&[port], 6, 10, None).expect("sock_diag");
        let inode = std::fs::metadata(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&four.as_fd())
        ));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].address, Ipv4Addr::LOCALHOST);
        assert_eq!((found[0].port, found[0].state), (port, 10));
        assert_eq!(found[0].inode, inode.expect("its inode").st_ino());
        drop(other);
    }

    #[test]
    fn udp_on_ipv6_is_found() {
        let six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6 on loopback");
        let port = six.local_addr().expect("its address").port();
        let found = on_ports(&[port], 17, 7, None).expect("sock_diag");
        assert!(found.iter().any(|row| row.address == Ipv6Addr::LOCALHOST && row.port == port));
    }

    #[test]
    fn an_impossible_length_is_an_error() {
        assert!(collect(&[255, 0, 0, 0, 20, 0, 0, 0], &mut Vec::new()).is_err());
        assert!(collect(&[0; 16], &mut Vec::new()).is_err());
        assert!(!collect(&[], &mut Vec::new()).expect("nothing"));
    }
}
