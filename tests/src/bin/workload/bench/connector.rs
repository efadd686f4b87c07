//! The process connector, which tools had before eBPF: every fork, exec and exit as a netlink message.

use std::mem::size_of;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::c_int;

use crate::args::Args;
use crate::{Outcome, sys};

const CN_IDX_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;
/// Header of netlink, then that of the connector.
const HEADERS: usize = 16 + 20;

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// `bench-connector`: says `ready=1`, counts ends until SIGTERM, then says `deaths=N` and `overruns=N`.
pub(super) fn connector(_args: Args) -> Outcome {
    let socket = listen()?;
    sys::disposition(libc::SIGTERM, note as *const () as libc::sighandler_t);
    sys::say("ready", 1);
    let (mut deaths, mut overruns) = (0_u64, 0_u64);
    let mut buffer = vec![0_u8; 1 << 16];
    while !ASKED.load(Ordering::Relaxed) {
        // SAFETY: the buffer outlives the call, and its length is given.
        let length = unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        match usize::try_from(length) {
            Ok(length) => deaths += ends(buffer.get(..length).unwrap_or_default()),
            Err(_) if sys::errno() == libc::ENOBUFS => overruns += 1,
            Err(_) => {}
        }
    }
    sys::say("deaths", deaths);
    sys::say("overruns", overruns);
    Ok(0)
}

fn listen() -> Result<c_int, String> {
    // SAFETY: `address` and `message` outlive the calls, and their sizes are given. A wait is cut short now and then, so
    // that a signal which comes just before it is seen.
    unsafe {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR);
        let fd = sys::check("socket", fd)?;
        let limit = libc::timeval { tv_sec: 0, tv_usec: 100_000 };
        let length = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap_or_default();
        let limit = (&raw const limit).cast();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, limit, length);
        let mut address: libc::sockaddr_nl = std::mem::zeroed();
        address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
        address.nl_groups = CN_IDX_PROC;
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).unwrap_or_default();
        sys::check("bind", libc::bind(fd, (&raw const address).cast(), length))?;
        // Length, type NLMSG_DONE, sequence, port; then the connector's id, sequence, length; then the wish.
        let total = u32::try_from(HEADERS + 4).unwrap_or_default();
        let words = [total, 3, 0, 0, CN_IDX_PROC, 1, 0, 0, 4, PROC_CN_MCAST_LISTEN];
        let message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let sent = libc::send(fd, message.as_ptr().cast(), message.len(), 0);
        sys::check("send", c_int::try_from(sent).unwrap_or(-1))?;
        Ok(fd)
    }
}

/// A message holds one event: what, processor, time, then the ids of task and process. A thread's end is none.
fn ends(message: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = message.get(HEADERS + at..HEADERS + at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    u64::from(word(0) == Some(PROC_EVENT_EXIT) && word(16) == word(20))
}
