//! What waits to become an event.
//!
//! **Bounded:** a death names [`RELEASED`] sockets and counts the others.

use crate::{
    decode::{Exit, Oom},
    model::{Body, Socket},
};

/// What becomes an event once everything earlier has.
#[derive(Debug)]
pub(super) enum Output {
    /// An OOM kill, and the death of its victim where that came in time.
    Oom(Box<Oom>, Option<Box<Exit>>),
    /// A death, with the sockets that nobody serves any more.
    Death(Box<Exit>, ReleasedSockets),
    /// An event that is complete but for its number.
    Event(u64, Body),
}

/// Most sockets that a death names as released.
pub(super) const RELEASED: usize = 256;

/// Sockets that a death released: those that it names, and how many there are.
#[derive(Debug, Default)]
pub(super) struct ReleasedSockets {
    pub(super) sockets: Vec<Socket>,
    pub(super) total: u64,
    /// Others knew it by a port: it served one, or was in somebody's way.
    pub(super) served: bool,
}

impl ReleasedSockets {
    /// Names those first whose port was chosen; `unnamed`: how many more there are.
    pub(super) fn of(mut sockets: Vec<Socket>, unnamed: u64) -> Self {
        let total = sockets.len() as u64 + unnamed;
        sockets.sort_by_key(|socket| socket.ephemeral);
        sockets.truncate(RELEASED);
        Self { sockets, total, served: total > 0 }
    }
}

impl Output {
    /// About how much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        const TASK: usize = 6 * 1024;
        match self {
            Self::Oom(..) => 2 * TASK,
            Self::Death(_, released) => TASK + released.sockets.len() * size_of::<Socket>(),
            Self::Event(_, Body::Bind(bind)) => TASK * (1 + bind.holders.len()),
            Self::Event(..) => TASK,
        }
    }
}

/// An output, and the moment that decides its place.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) time_ns: u64,
    pub(super) output: Output,
}
