//! The process connector, which tools had before eBPF: every fork, exec and exit as a netlink message.

use super::netlink::{self, word};
use crate::args::Args;
use crate::{Outcome, sys};

const CN_IDX_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;
/// Header of netlink, then that of the connector.
const HEADERS: usize = 16 + 20;

/// `bench-connector`: says `ready=1`, counts ends until SIGTERM, then says `deaths=N` and `overruns=N`.
pub(super) fn connector(_args: Args) -> Outcome {
    let socket = netlink::open(libc::NETLINK_CONNECTOR, CN_IDX_PROC)?;
    // Length, type NLMSG_DONE, sequence, port; then the connector's id, sequence, length; then the wish.
    let total = u32::try_from(HEADERS + 4).unwrap_or_default();
    netlink::send(socket, &[total, 3, 0, 0, CN_IDX_PROC, 1, 0, 0, 4, PROC_CN_MCAST_LISTEN])?;
    let mut deaths = 0_u64;
    let overruns = netlink::listen(socket, |message| deaths += ends(message));
    sys::say("deaths", deaths);
    sys::say("overruns", overruns);
    Ok(0)
}

/// A message holds one event: what, processor, time, then the ids of task and process. A thread's end is none.
fn ends(message: &[u8]) -> u64 {
    let of = |at| word(message, HEADERS + at);
    u64::from(of(0) == Some(PROC_EVENT_EXIT) && of(16) == of(20))
}
