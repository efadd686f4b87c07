//! The end of the demo: the incident that its events come to.

use crate::{
    diagnose::incident::incidents,
    model::{Body, Event},
};

/// The incident, from the events alone, as `observer why` tells it.
#[must_use]
pub(super) fn the_end(events: &[Event]) -> Vec<Event> {
    let Some(last) = events.iter().max_by_key(|event| event.seq) else { return Vec::new() };
    let incidents = incidents(events).into_iter();
    let events = incidents.map(|incident| Event {
        seq: None,
        time: incident.to,
        body: Body::Incident(Box::new(incident)),
        ..last.clone()
    });
    events.collect()
}
