//! What was counted of a flood since it was told last.
//!
//! **Bounded:** a number for each type of cause, and one path.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    origin::{Origin, Place},
    weight::stands_for,
};
use crate::model::{
    Body, CauseType, Event, FloodEvent, Missing, Process, Time,
    cgroup::{container, unit},
};

/// Counts of events.
#[derive(Debug, Default)]
pub(super) struct Counted {
    count: u64,
    causes: BTreeMap<CauseType, u64>,
    /// Times of the first and the last.
    span: Option<(Time, Time)>,
    /// The innermost cgroup of all of them.
    cgroup: Option<String>,
}

impl Counted {
    /// Counts one.
    pub(super) fn add(&mut self, event: &Event) {
        let many = stands_for(&event.body);
        self.count = self.count.saturating_add(many);
        let (cause, process) = match &event.body {
            Body::Exit(exit) => (Some(exit.cause.cause_type), Some(&exit.process)),
            Body::Bind(bind) => (Some(bind.cause.cause_type), Some(&bind.process)),
            Body::Listen(listen) => (None, Some(&listen.process)),
            Body::Release(release) => (None, release.process.as_ref()),
            _ => (None, None),
        };
        if let Some(cause) = cause {
            let count = self.causes.entry(cause).or_default();
            *count = count.saturating_add(many);
        }
        let (from, to) = self.span.get_or_insert((event.time, event.time));
        (*from, *to) = ((*from).min(event.time), (*to).max(event.time));
        if let Some(cgroup) = process.and_then(cgroup_of) {
            match &mut self.cgroup {
                Some(common) => shorten_to_common(common, cgroup),
                None => self.cgroup = Some(cgroup.to_owned()),
            }
        }
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The event about them; `None`: there are none.
    pub(super) fn event(self, origin: &Origin, example: Option<u64>) -> Option<FloodEvent> {
        let (from, to) = self.span?;
        let mut missing = Missing::new();
        let mut lacks = |key: &'static str, why: &'static str| {
            missing.insert(Cow::Borrowed(key), Cow::Borrowed(why));
        };
        if origin.uid.is_none() {
            lacks(
                "uid",
                match origin.place {
                    Place::Anywhere => {
                        "they are of several users: too many floods at once to tell them apart"
                    }
                    Place::In(_) | Place::Nowhere => "this kernel's credentials can't be read",
                },
            );
        }
        if self.cgroup.is_none() {
            lacks("cgroup", "this kernel's cgroup can't be read");
        }
        let of_path = |name: fn(&str) -> Option<&str>| {
            self.cgroup.as_deref().and_then(name).map(std::sync::Arc::from)
        };
        Some(FloodEvent {
            of: origin.kind,
            unit: of_path(unit),
            container: of_path(container),
            uid: origin.uid,
            user: None,
            count: self.count,
            causes: self.causes,
            from,
            to,
            example,
            missing,
            cgroup: self.cgroup,
        })
    }
}

fn cgroup_of(process: &Process) -> Option<&str> {
    process.cgroup.as_deref()
}

/// The innermost cgroup that both are in.
fn shorten_to_common(common: &mut String, other: &str) {
    let is_in = other
        .strip_prefix(common.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || common.ends_with('/'));
    if is_in {
        return;
    }
    let pairs = common.split('/').zip(other.split('/'));
    let same = pairs.take_while(|(a, b)| a == b).map(|(name, _)| name.len() + 1);
    let end = same.sum::<usize>().saturating_sub(1);
    common.truncate(end);
    if common.is_empty() {
        common.push('/');
    }
}
