//! What an incident is made of.

use std::sync::Arc;

use super::super::{
    keys::{Ident, Kin, LoopKey},
    ports::Server,
    weigh::Weight,
};
use crate::model::{Event, Socket, Time};

/// A death.
#[derive(Clone, Debug)]
pub(in super::super) struct Death {
    pub(in super::super) event: Arc<Event>,
    pub(in super::super) weight: Weight,
}

/// Refusals that differ only in their time.
#[derive(Clone, Debug)]
pub(in super::super) struct Refusal {
    pub(in super::super) event: Arc<Event>,
    pub(in super::super) origins: Vec<Origin>,
    pub(in super::super) count: u64,
    pub(in super::super) last: (Time, u64),
}

/// Where a holder comes from.
#[derive(Clone, Debug)]
pub(in super::super) struct Origin {
    /// Who opened the socket.
    pub(in super::super) opener: Option<Server>,
    /// The death of the process that left it behind.
    pub(in super::super) left_by: Option<Arc<Event>>,
}

/// A port that another process holds although its server is dead.
#[derive(Clone, Debug)]
pub(in super::super) struct StillHeld {
    pub(in super::super) served: Server,
    pub(in super::super) exit: Arc<Event>,
}

/// A port whose server is gone while another server has a socket there.
#[derive(Clone, Debug)]
pub(in super::super) struct OtherServer {
    pub(in super::super) socket: Socket,
    pub(in super::super) time: Time,
    pub(in super::super) seq: u64,
    pub(in super::super) by: Server,
}

/// Deaths of a service that restarts again and again.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Tally {
    pub(in super::super) count: u64,
    pub(in super::super) first: (Time, u64),
    pub(in super::super) last: (Time, u64),
}

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Keys {
    pub(in super::super) sockets: Vec<Socket>,
    pub(in super::super) units: Vec<String>,
    pub(in super::super) idents: Vec<Ident>,
    pub(in super::super) kin: Option<Kin>,
    pub(in super::super) again: Option<LoopKey>,
    pub(in super::super) oom_seq: Option<u64>,
    pub(in super::super) limit: Option<String>,
}
