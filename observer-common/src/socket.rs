//! Sockets: the outcome of a bind or a listen, the end of a listener, and who holds which socket.

use crate::{header::Header, task::COMM_LEN};

/// `SocketRecord::flags`: SO_REUSEADDR.
pub const SOCKET_REUSEADDR: u8 = 1;
/// `SocketRecord::flags`: SO_REUSEPORT.
pub const SOCKET_REUSEPORT: u8 = 1 << 1;
/// `SocketRecord::flags`: IPV6_V6ONLY, or bound to an IPv6 address that is not a wildcard.
pub const SOCKET_V6ONLY: u8 = 1 << 2;
/// `SocketRecord::flags`: bind(2) named the port (`SOCK_BINDPORT_LOCK`); without it the kernel chose the port. Accepted
/// connections don't inherit it, and an MPTCP socket never has it.
pub const SOCKET_PORT_CHOSEN: u8 = 1 << 3;

/// `SocketRecord::protocol` of MPTCP.
pub const PROTOCOL_MPTCP: u16 = 262;

/// Longest unix socket name (`sizeof(sun_path)`).
pub const UNIX_NAME: usize = 108;

/// `enum` of TCP states, include/net/tcp_states.h; unix and UDP sockets use some of them.
pub const STATE_ESTABLISHED: u8 = 1;
/// Closed by this side; the other side has not answered.
pub const STATE_FIN_WAIT1: u8 = 4;
/// Closed by this side; the other side has answered but not closed.
pub const STATE_FIN_WAIT2: u8 = 5;
/// Waiting for late packets.
pub const STATE_TIME_WAIT: u8 = 6;
/// No connection: bound at most.
pub const STATE_CLOSE: u8 = 7;
/// Closed by the other side, not by this one.
pub const STATE_CLOSE_WAIT: u8 = 8;
/// Closed by both sides; the last packet is not confirmed.
pub const STATE_LAST_ACK: u8 = 9;
/// Listening.
pub const STATE_LISTEN: u8 = 10;
/// Closed by both sides at once.
pub const STATE_CLOSING: u8 = 11;

record! {
    /// A socket as the kernel has it (`struct sock`).
    pub struct SocketRecord {
        /// Address of the `struct sock` as a number: its identity while it lives. Never an address to read.
        pub sk: u64,
        /// Inode number of the socket; 0 when it no longer has a file.
        pub inode: u64,
        /// Inode number of the file that a unix socket is bound to.
        pub path_inode: u64,
        /// Device of that file, as the kernel numbers it (`s_dev`).
        pub path_device: u32,
        /// Inode number of the network namespace.
        pub netns: u32,
        /// Interface index of SO_BINDTODEVICE; 0 for any.
        pub device: u32,
        /// The socket's user (`sk_uid`).
        pub uid: u32,
        /// Backlog of a listening socket.
        pub backlog: u32,
        /// `AF_INET` 2, `AF_INET6` 10, `AF_UNIX` 1.
        pub family: u16,
        /// `SOCK_STREAM` 1, `SOCK_DGRAM` 2, `SOCK_SEQPACKET` 5.
        pub kind: u16,
        /// `IPPROTO_TCP` 6, `IPPROTO_UDP` 17, [`PROTOCOL_MPTCP`]; 0 for unix.
        pub protocol: u16,
        /// Local port in host byte order; 0 when unbound.
        pub port: u16,
        /// `STATE_` constant.
        pub state: u8,
        /// `SOCKET_` flags.
        pub flags: u8,
        /// How much of `name` is used.
        pub name_len: u16,
        /// Local address: 4 bytes of IPv4 or 16 of IPv6.
        pub address: [u8; 16],
        /// Name of a unix socket; an abstract one begins with NUL.
        pub name: [u8; UNIX_NAME],
        /// First port that needs no privilege in the socket's network namespace (`net.ipv4.ip_unprivileged_port_start`), at
        /// least 1; 0 when it was not read. Only a [`BindRecord`] has it.
        pub unprivileged_port: u32,
    } size 184
}

/// `BindRecord::call`: bind(2).
pub const CALL_BIND: u16 = 0;
/// `BindRecord::call`: listen(2).
pub const CALL_LISTEN: u16 = 1;
/// `BindRecord::call`: the last holder of a listening socket closed it (`inet_csk_listen_stop`).
pub const CALL_STOP: u16 = 2;

record! {
    /// What refusals have in common that are told once and then counted: who was refused what. Key of the map `REFUSALS`.
    pub struct RefusalKey {
        /// The requested address: 4 bytes of IPv4, 16 of IPv6, or a hash of a unix name.
        pub address: [u64; 2],
        /// Id of the caller's version 2 cgroup (`bpf_get_current_cgroup_id`).
        pub cgroup: u64,
        /// Address of the `struct net` as a number: equal in one network namespace. Never an address to read.
        pub net: u64,
        /// The caller's user id in the initial user namespace.
        pub uid: u32,
        /// The errno.
        pub errno: u16,
        /// Requested port in host byte order; 0 for a unix name.
        pub port: u16,
        /// `AF_` constant.
        pub family: u16,
        /// As in [`SocketRecord`].
        pub protocol: u16,
        /// `CALL_` constant.
        pub call: u16,
        /// Always 0.
        pub reserved: u16,
    } size 48
}

record! {
    /// Value of the map `REFUSALS`.
    pub struct RefusalCount {
        /// Refusals that were counted and not told, since the entry exists. It only grows.
        pub counted: u64,
        /// Moment of the last one of them: `CLOCK_BOOTTIME` in nanoseconds.
        pub last_ns: u64,
        /// When the present second began, of which [`REFUSALS_TOLD`] are told.
        pub second_ns: u64,
        /// How many of it were told.
        pub told: u32,
        /// Who was told last, and how many of it in this second.
        pub tgid: u32,
        /// See `tgid`.
        pub told_of_tgid: u32,
        /// Always 0.
        pub reserved: u32,
    } size 40
}

/// So many refusals with one [`RefusalKey`] are told within a second; the others are counted.
pub const REFUSALS_TOLD: u32 = 32;
/// So many of them of one process: a process that tries again and again is told less than processes that fail in turn.
pub const REFUSALS_TOLD_OF_ONE: u32 = 4;
/// Most entries of the map `REFUSALS`. Refusals that find no room are told one by one.
pub const REFUSALS: u32 = 1024;

/// Most bytes of the requested address: `sizeof(struct sockaddr_un)`, rounded up.
pub const SOCKADDR: usize = 112;

record! {
    /// Outcome of a bind or a listen, or the end of a listener. After it: the process, a [`crate::task::TaskRecord`] with its
    /// segments.
    pub struct BindRecord {
        /// Kind [`crate::header::KIND_BIND`].
        pub header: Header,
        /// `CALL_` constant.
        pub call: u16,
        /// How much of `asked` is used; 0 when the address could not be read.
        pub asked_len: u16,
        /// 0, or the errno, negative.
        pub result: i32,
        /// The requested `struct sockaddr`.
        pub asked: [u8; SOCKADDR],
        /// The socket after the call.
        pub socket: SocketRecord,
        /// Of a refusal: what it has in common with those that are counted; all 0 when none are.
        pub key: RefusalKey,
        /// Of a refusal: [`RefusalCount::counted`] at that moment.
        pub counted: u64,
    } size 376
}

record! {
    /// A process that has a descriptor of a socket.
    pub struct HolderRecord {
        /// The holder's start time, as in [`crate::task::TaskRecord`].
        pub start_time_ns: u64,
        /// The holder's process id.
        pub tgid: u32,
        /// The descriptor.
        pub fd: u32,
        /// The holder's parent.
        pub ppid: u32,
        /// The holder's real user id.
        pub uid: u32,
        /// `TASK_FORKED`, `TASK_EXITING`.
        pub flags: u32,
        /// Always 0.
        pub reserved: u32,
        /// The holder's name.
        pub comm: [u8; COMM_LEN],
    } size 48
}

record! {
    /// One descriptor of one process, as the scan (the `task_file` iterator) reports it.
    pub struct HeldRecord {
        /// The socket.
        pub socket: SocketRecord,
        /// Its holder.
        pub holder: HolderRecord,
    } size 232
}
