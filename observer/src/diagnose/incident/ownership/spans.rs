//! Times in which a process served, and outages.

use super::super::places::Located;
use crate::model::{Process, Socket, Time};

/// How a time ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not by the last event.
    Open,
    /// By an event.
    Seen,
    /// observer stopped: what happened then is not known.
    Unwatched,
}

/// A time in which a process served, or those that inherited its socket.
#[derive(Clone, Debug)]
pub struct ServedSpan {
    /// What.
    pub socket: Socket,
    /// Who opened it; no more of it than names it.
    pub process: Process,
    /// Since when; earlier, when `initial`.
    pub from: Time,
    /// It served already when the observer began to watch.
    pub initial: bool,
    /// Until when, as far as it is known.
    pub to: Time,
    /// How that ended.
    pub end: End,
    /// The last holder, when it was another one.
    pub last: Option<Process>,
    /// How often it served on while observer was not running.
    pub gaps: u32,
    /// When the watch ended before it was seen again.
    pub(super) unwatched: Option<Time>,
}

/// An outage: a time in which nobody served what had been served before.
#[derive(Clone, Debug)]
pub struct OutageSpan {
    /// What.
    pub socket: Socket,
    /// Who served it last.
    pub last: Option<Process>,
    /// Since when; earlier by a little, when `late`.
    pub from: Time,
    /// A scan found it, not an event.
    pub late: bool,
    /// Until when, as far as it is known.
    pub to: Time,
    /// How that ended.
    pub end: End,
}

/// What names a process: its arguments may be long.
pub(super) fn named(process: &Process) -> Process {
    Process {
        pid: process.pid,
        start_time: process.start_time,
        uid: process.uid,
        user: process.user.clone(),
        comm: process.comm.clone(),
        unit: process.unit.clone(),
        user_unit: process.user_unit.clone(),
        container: process.container.clone(),
        ..Process::default()
    }
}

impl Located for ServedSpan {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.process)
    }
}

impl Located for OutageSpan {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn process(&self) -> Option<&Process> {
        self.last.as_ref()
    }
}
