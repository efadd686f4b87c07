//! Netlink sockets of the kernel's own news.

use std::mem::size_of;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::c_int;

use crate::sys;

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// A socket of that protocol, in those groups.
pub(super) fn open(protocol: c_int, groups: u32) -> Result<c_int, String> {
    // SAFETY: `address` outlives the call, and sizes are given. A wait is cut short now and then, so that a signal which
    // comes just before it is seen.
    unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = sys::check("socket", libc::socket(libc::AF_NETLINK, kind, protocol))?;
        let limit = libc::timeval { tv_sec: 0, tv_usec: 100_000 };
        let length = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap_or_default();
        let limit = (&raw const limit).cast();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, limit, length);
        let mut address: libc::sockaddr_nl = std::mem::zeroed();
        address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
        address.nl_groups = groups;
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).unwrap_or_default();
        sys::check("bind", libc::bind(fd, (&raw const address).cast(), length))?;
        Ok(fd)
    }
}

/// Sends a message of these words.
pub(super) fn send(fd: c_int, words: &[u32]) -> Result<(), String> {
    let message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    // SAFETY: the message outlives the call, and its length is given.
    let sent = unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), 0) };
    sys::check("send", c_int::try_from(sent).unwrap_or(-1)).map(drop)
}

/// The next message; `None` when there is none for a while.
pub(super) fn receive(fd: c_int, buffer: &mut [u8]) -> Option<&[u8]> {
    // SAFETY: the buffer outlives the call, and its length is given.
    let length = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    buffer.get(..usize::try_from(length).ok()?)
}

/// Four bytes of a message.
pub(super) fn word(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Says `ready=1`, and hands each message to `take` until SIGTERM. Returns how often there was no room for more.
pub(super) fn listen(fd: c_int, mut take: impl FnMut(&[u8])) -> u64 {
    sys::disposition(libc::SIGTERM, note as *const () as libc::sighandler_t);
    sys::say("ready", 1);
    let mut overruns = 0;
    let mut buffer = vec![0_u8; 1 << 16];
    while !ASKED.load(Ordering::Relaxed) {
        match receive(fd, &mut buffer) {
            Some(message) => take(message),
            None if sys::errno() == libc::ENOBUFS => overruns += 1,
            None => {}
        }
    }
    overruns
}
