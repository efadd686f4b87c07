//! Captures a socket.

use aya_ebpf::{Global, helpers::generated as helpers};
use observer_common::{
    offsets::ABSENT,
    socket::{
        SOCKET_PORT_CHOSEN, SOCKET_REUSEADDR, SOCKET_REUSEPORT, SOCKET_V6ONLY, STATE_LISTEN,
        SocketRecord, UNIX_NAME,
    },
};

use crate::fields::{
    Access, DENTRY_INODE, FILE_INODE, INET_SPORT, INODE_INO, INODE_MODE, INODE_SB, NET_INUM,
    NET_PROT_SOCK, Probe, SB_DEV, SK_ADDRESS, SK_ADDRESS6, SK_BACKLOG, SK_DEVICE, SK_FAMILY,
    SK_NET, SK_NUM, SK_PROTOCOL, SK_REUSE_BIT, SK_REUSEPORT_BIT, SK_STATE, SK_TYPE, SK_UID,
    SK_USERLOCKS_BIT, SK_V6ONLY_BIT, UNIX_ADDR, UNIX_ADDR_LEN, UNIX_ADDR_NAME, UNIX_DENTRY,
    pointer, try_field,
};

pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;

/// `sk_userlocks`: bind(2) named the port, include/net/sock.h.
const SOCK_BINDPORT_LOCK: u8 = 8;

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Whether a file is a socket; its `private_data` is a `struct socket` then.
#[inline(always)]
pub(crate) fn is_socket(file: *const u8) -> bool {
    pointer::<Probe>(file, &FILE_INODE)
        .and_then(|inode| try_field::<Probe, u16>(inode, &INODE_MODE))
        .is_some_and(|mode| mode & S_IFMT == S_IFSOCK)
}

/// Inode number of a file.
#[inline(always)]
pub(crate) fn inode<A: Access>(file: *const u8) -> u64 {
    pointer::<A>(file, &FILE_INODE)
        .and_then(|inode| try_field::<A, u64>(inode, &INODE_INO))
        .unwrap_or(0)
}

/// Family of a socket.
#[inline(always)]
pub(crate) fn family<A: Access>(sk: *const u8) -> u16 {
    try_field::<A, u16>(sk, &SK_FAMILY).unwrap_or(0)
}

/// Fills a record, except `inode`. `A` must suit a `struct sock`; fields of the larger structures that begin
/// with it are probed.
///
/// # Safety
/// `record` must point to room for a record.
#[inline(always)]
pub(crate) unsafe fn capture<A: Access>(record: *mut SocketRecord, sk: *const u8) {
    let family = family::<A>(sk);
    let state = try_field::<A, u8>(sk, &SK_STATE).unwrap_or(0);
    // SAFETY: the caller gave room. Every field but `inode` is written, and `name` as far as it is used: the memory was zero at
    // first, and nothing reads the bytes behind `name_len`, which an earlier record may have left.
    unsafe {
        (*record).sk = sk as u64;
        (*record).netns = pointer::<A>(sk, &SK_NET)
            .and_then(|net| try_field::<A, u32>(net, &NET_INUM))
            .unwrap_or(0);
        (*record).device = try_field::<A, u32>(sk, &SK_DEVICE).unwrap_or(0);
        (*record).uid = try_field::<A, u32>(sk, &SK_UID).unwrap_or(u32::MAX);
        (*record).backlog = if state == STATE_LISTEN {
            try_field::<A, u32>(sk, &SK_BACKLOG).unwrap_or(0)
        } else {
            0
        };
        (*record).family = family;
        (*record).kind = try_field::<A, u16>(sk, &SK_TYPE).unwrap_or(0);
        (*record).protocol = try_field::<A, u16>(sk, &SK_PROTOCOL).unwrap_or(0);
        (*record).state = state;
        (*record).flags = flags::<A>(sk);
        (*record).address = address::<A>(sk, family);
        (*record).port = if family == AF_UNIX { 0 } else { port::<A>(sk) };
        (*record).unprivileged_port = 0;
        (*record).name_len = 0;
        (*record).path_inode = 0;
        (*record).path_device = 0;
        if family == AF_UNIX {
            unix(record, sk);
        }
    }
}

/// First port that needs no privilege in the socket's network namespace: `inet_port_requires_bind_service`, include/net/ip.h.
#[inline(always)]
pub(crate) fn unprivileged_port(sk: *const u8) -> u32 {
    pointer::<Probe>(sk, &SK_NET)
        .and_then(|net| try_field::<Probe, u32>(net, &NET_PROT_SOCK))
        .map_or(0, |first| if first == 0 { 1 } else { first })
}

/// Local port. When a listener ends whose port the kernel chose, `skc_num` goes back to 0; `inet_sport` keeps the port.
#[inline(always)]
pub(crate) fn port<A: Access>(sk: *const u8) -> u16 {
    let num = try_field::<A, u16>(sk, &SK_NUM).unwrap_or(0);
    if num != 0 {
        return num;
    }
    u16::from_be(try_field::<Probe, u16>(sk, &INET_SPORT).unwrap_or(0))
}

#[inline(always)]
pub(crate) fn address<A: Access>(sk: *const u8, family: u16) -> [u8; 16] {
    if family == AF_INET6 {
        let half = |at: usize| try_field::<A, u64>(sk.wrapping_add(at), &SK_ADDRESS6).unwrap_or(0);
        // SAFETY: two u64 have the size of 16 bytes, and any bytes are valid.
        return unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>([half(0), half(8)]) };
    }
    let mut address = [0; 16];
    if family == AF_INET
        && let Some(four) = try_field::<A, u32>(sk, &SK_ADDRESS)
    {
        let four = four.to_ne_bytes();
        address[0] = four[0];
        address[1] = four[1];
        address[2] = four[2];
        address[3] = four[3];
    }
    address
}

#[inline(always)]
fn flags<A: Access>(sk: *const u8) -> u8 {
    let mut flags = 0;
    if bits::<A>(sk, &SK_REUSE_BIT) & 0xf != 0 {
        flags |= SOCKET_REUSEADDR;
    }
    if bits::<A>(sk, &SK_REUSEPORT_BIT) & 1 != 0 {
        flags |= SOCKET_REUSEPORT;
    }
    if bits::<A>(sk, &SK_V6ONLY_BIT) & 1 != 0 {
        flags |= SOCKET_V6ONLY;
    }
    if bits::<A>(sk, &SK_USERLOCKS_BIT) & SOCK_BINDPORT_LOCK != 0 {
        flags |= SOCKET_PORT_CHOSEN;
    }
    flags
}

/// The byte that holds a bit field, shifted down to it.
#[inline(always)]
fn bits<A: Access>(sk: *const u8, offset: &Global<u32>) -> u8 {
    let bit = offset.load();
    if bit == ABSENT {
        return 0;
    }
    // SAFETY: the offset comes from this kernel's BTF.
    let byte = unsafe { A::read::<u8>(sk.wrapping_add((bit >> 3) as usize)) };
    byte >> (bit & 7)
}

/// # Safety
/// As [`capture`].
#[inline(always)]
unsafe fn unix(record: *mut SocketRecord, sk: *const u8) {
    let Some(name) = pointer::<Probe>(sk, &UNIX_ADDR) else { return };
    let len: i32 = try_field::<Probe, i32>(name, &UNIX_ADDR_LEN).unwrap_or(0);
    if UNIX_ADDR_NAME.load() == ABSENT || len <= 2 {
        return;
    }
    let mut used = (len - 2) as u32;
    if used > UNIX_NAME as u32 {
        used = UNIX_NAME as u32;
    }
    // SAFETY: `name` has UNIX_NAME bytes. The kernel allocates at most a whole `sockaddr_un`, and the helper turns a bad read into
    // an error. `sun_path` begins after the family.
    unsafe {
        let from = name.wrapping_add(UNIX_ADDR_NAME.load() as usize + 2);
        let to = (&raw mut (*record).name).cast();
        let whole = helpers::bpf_probe_read_kernel(to, UNIX_NAME as u32, from.cast());
        (*record).name_len = if whole == 0 { used as u16 } else { 0 };
        if let Some(inode) =
            pointer::<Probe>(sk, &UNIX_DENTRY).and_then(|d| pointer::<Probe>(d, &DENTRY_INODE))
        {
            (*record).path_inode = try_field::<Probe, u64>(inode, &INODE_INO).unwrap_or(0);
            (*record).path_device = pointer::<Probe>(inode, &INODE_SB)
                .and_then(|sb| try_field::<Probe, u32>(sb, &SB_DEV))
                .unwrap_or(0);
        }
    }
}
