//! The end of the demo: the story that its events come to.

use crate::{
    diagnose::story::stories,
    model::{Body, Event},
};

/// The story, told from the events alone, as `observer why` tells it; numbered after the last of them.
#[must_use]
pub(super) fn the_end(events: &[Event]) -> Vec<Event> {
    let Some(last) = events.iter().max_by_key(|event| event.seq) else { return Vec::new() };
    let told = stories(events).into_iter().zip(last.seq + 1..);
    told.map(|(incident, seq)| Event {
        seq,
        time: incident.to,
        body: Body::Incident(Box::new(incident)),
        ..last.clone()
    })
    .collect()
}
