//! Whose an event is, and which of his buckets pays for it.
//!
//! **Invariant:** who can't act as another user, nor leave his unit, container or slice, has one origin for each kind and
//! class, however many cgroups, units of his own and sessions he makes. Nobody else's events are in it.

use std::sync::Arc;

use super::FloodLimit;
use crate::model::{Body, CauseType, ExitEvent, Kind, Process, cgroup::outermost};

/// How many of the rare ones are told at once, whatever the settings say: many more than there ever are unless somebody makes
/// them.
const RARE: u64 = 20_000;

/// Whose an event is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin {
    /// Of which kind.
    pub(super) kind: Kind,
    class: Class,
    /// Which user's; `None` where that is not known.
    pub(super) uid: Option<u32>,
    /// Where.
    pub(super) place: Place,
    /// It is root's, and in no container.
    is_roots: bool,
}

/// Where it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the unit, container or user's slice with that cgroup.
    In(Arc<str>),
    /// In none.
    Nowhere,
    /// Anywhere: there was no room to tell them apart.
    Anywhere,
}

/// What pays for an event: what is rare must not be hidden by what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Class {
    /// What everybody can have as many of as he likes.
    Ordinary,
    /// The kernel ended it, or it served a port: rare, but everybody can bring it about.
    Rare,
    /// Another user's signal ended it. Only few can bring that about, such as a session's user who asks logind to end it.
    OthersSignal,
}

impl Origin {
    /// Whose it is; `None`: it is told, however many there are.
    pub(super) fn of(body: &Body, served: bool) -> Option<Self> {
        let (class, process) = match body {
            Body::Exit(exit) => (class_of(exit, served)?, Some(&exit.process)),
            Body::Bind(bind) => (Class::Ordinary, Some(&bind.process)),
            Body::Listen(listen) => (Class::Ordinary, Some(&listen.process)),
            Body::Release(release) => (Class::Ordinary, release.process.as_ref()),
            _ => return None,
        };
        let uid = process.and_then(|process| process.origin_uid);
        let place = process.and_then(|process| process.cgroup.as_deref()).and_then(outermost);
        let is_roots = uid == Some(0) && process.is_some_and(|process| process.container.is_none());
        let place = place.map_or(Place::Nowhere, |place| Place::In(place.into()));
        Some(Self { kind: body.kind(), class, uid, place, is_roots })
    }

    /// The same for all that have no room: root shares with nobody.
    pub(super) fn shared(self) -> Self {
        let uid = self.uid.filter(|_| self.is_roots);
        Self { uid, place: Place::Anywhere, ..self }
    }

    /// How many of them are told.
    pub(super) fn limit(&self, set: FloodLimit) -> FloodLimit {
        match self.class {
            Class::Ordinary => set,
            Class::Rare | Class::OthersSignal => FloodLimit { burst: set.burst.max(RARE), ..set },
        }
    }
}

/// `None`: an OOM kill, or the end of a service of root's.
fn class_of(exit: &ExitEvent, served: bool) -> Option<Class> {
    if exit.cause.cause_type == CauseType::OomKill || is_main_process(&exit.process) {
        return None;
    }
    let prompted = exit.cause.prompted_by.as_deref().and_then(|prompt| prompt.sender.as_ref());
    let mut senders = exit.cause.sender.as_deref().into_iter().chain(prompted);
    Some(if senders.any(|sender| is_other(sender, &exit.process)) {
        Class::OthersSignal
    } else if served || exit.cause.cause_type == CauseType::Kernel {
        Class::Rare
    } else {
        Class::Ordinary
    })
}

/// Whether a sender is known to be another user: everybody can have his own sender forgotten.
fn is_other(sender: &Process, victim: &Process) -> bool {
    match (sender.origin_uid, victim.origin_uid) {
        (Some(sender), Some(victim)) => sender != victim,
        _ => false,
    }
}

/// A process of root's that systemd itself started, in a service of the system's manager: as far as can be told, since an orphan
/// becomes its child too. Nobody else can make one but by a program that makes him root (sudo).
fn is_main_process(process: &Process) -> bool {
    let is_service = |unit: &str| unit.ends_with(".service") && !unit.starts_with("user@");
    process.ppid == Some(1)
        && process.origin_uid == Some(0)
        && process.container.is_none()
        && process.unit.as_deref().is_some_and(is_service)
}
