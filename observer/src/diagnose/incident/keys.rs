//! What makes two events belong together: process, service, port, path.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use jiff::Timestamp;

use crate::model::{Process, Socket, Time};

/// A process: the kernel reuses pids, so the start time belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ident {
    pub(super) pid: u32,
    start: Option<Time>,
}

impl Ident {
    pub(super) fn of(process: &Process) -> Self {
        Self { pid: process.pid, start: process.start_time }
    }

    /// The same process; a start time that is not known speaks against nothing.
    pub(super) fn is(self, other: Self) -> bool {
        self.pid == other.pid
            && match (self.start, other.start) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
    }
}

/// A dead process among its relatives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kin {
    pid: u32,
    ppid: u32,
    start: Option<Time>,
    died: Time,
}

impl Kin {
    pub(super) fn of(process: &Process, died: Time) -> Self {
        let (pid, start) = (process.pid, process.start_time);
        Self { pid, ppid: process.ppid.unwrap_or(0), start, died }
    }

    /// Whether one is the other's parent.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        self.is_child_of(other) || other.is_child_of(self)
    }

    /// The kernel reuses pids: the parent must have been alive when the child died.
    fn is_child_of(&self, parent: &Self) -> bool {
        self.ppid > 1
            && self.ppid == parent.pid
            && parent.start.is_none_or(|start| start <= self.died)
            && self.died <= parent.died
    }
}

/// The same port of the same protocol and network namespace, whatever the address; or the same path.
pub(super) fn same_port(a: &Socket, b: &Socket) -> bool {
    let netns = match (a.netns, b.netns) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    match (a.port, b.port, &a.path, &b.path) {
        (Some(x), Some(y), ..) => a.protocol == b.protocol && x == y && netns,
        // A path in the file system is the same in every network namespace, an abstract name is not.
        (None, None, Some(x), Some(y)) => x == y && (netns || !x.starts_with('@')),
        _ => false,
    }
}

/// The same port, and whoever serves one answers at the other: equal addresses, or one of them takes all.
pub(super) fn meets(a: &Socket, b: &Socket) -> bool {
    same_port(a, b)
        && match (a.address, b.address) {
            (Some(a), Some(b)) => a == b || takes(a, b) || takes(b, a),
            _ => true,
        }
}

/// Whether a wildcard takes what comes for that address: `[::]` takes IPv4 too, unless its server forbade it.
fn takes(any: IpAddr, address: IpAddr) -> bool {
    any.is_unspecified() && (any.is_ipv6() || address.is_ipv4())
}

/// The same port and the same address.
pub(super) fn same_address(a: &Socket, b: &Socket) -> bool {
    same_port(a, b) && a.address == b.address
}

/// The unit, where its processes belong together: a service or a container, not somebody's session.
pub(super) fn unit(process: &Process) -> Option<Cow<'_, str>> {
    let unit = process.whole_unit()?;
    let manager = unit.starts_with("user@") && process.user_unit.is_none();
    let service = unit.ends_with(".service") && !manager;
    (service || process.container.is_some()).then_some(unit)
}

/// What a restarted process has in common with the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LoopKey {
    pub(super) unit: Option<String>,
    parent: u32,
    pub(super) comm: Arc<str>,
    exe: Arc<str>,
    /// Without a unit only the same command line of the same parent is the same service.
    args: Arc<[String]>,
}

impl LoopKey {
    /// `None` for a process without a unit whose parent is the first process: nothing shows who started it.
    pub(super) fn of(process: &Process) -> Option<Self> {
        let unit = unit(process).map(Cow::into_owned);
        let parent = process.ppid.unwrap_or(0);
        if unit.is_none() && parent <= 1 {
            return None;
        }
        let alone = unit.is_none();
        Some(Self {
            unit,
            parent: if alone { parent } else { 0 },
            comm: process.comm.clone().unwrap_or_default(),
            exe: process.exe.clone().unwrap_or_default(),
            args: process.args.clone().filter(|_| alone).unwrap_or_default(),
        })
    }
}

/// Whether two processes have the same [`LoopKey`], without making one: it is asked for each of a storm of deaths.
pub(super) fn same_service(a: &Process, b: &Process) -> bool {
    a.comm == b.comm
        && a.exe == b.exe
        && match (unit(a), unit(b)) {
            (Some(a), Some(b)) => a == b,
            (None, None) => a.ppid == b.ppid && a.ppid > Some(1) && a.args == b.args,
            _ => false,
        }
}

/// Whether its parent is a shell: what a script runs again and again is no service that is started again.
pub(super) fn child_of_shell(process: &Process) -> bool {
    const SHELLS: [&str; 9] =
        ["sh", "bash", "dash", "zsh", "ksh", "fish", "ash", "busybox", "tmux: server"];
    process.parent.as_ref().is_some_and(|parent| SHELLS.contains(&&*parent.comm))
}

/// So many seconds later.
pub(super) fn after(time: Time, seconds: i64) -> Time {
    let second = time.0.as_second().saturating_add(seconds);
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Time(Timestamp::new(second, time.0.subsec_nanosecond()).unwrap_or(end))
}

/// Seconds from one moment to another; 0 when they are the wrong way round.
pub(super) fn seconds(from: Time, to: Time) -> f64 {
    to.0.duration_since(from.0).as_secs_f64().max(0.0)
}
