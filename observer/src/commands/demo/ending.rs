//! The end of the demo: what its events come to.

use std::fmt::Write as _;

use crate::{
    model::{Body, Event, Process, human},
    sinks::sanitize::sanitize,
};

/// Says who died and why, who was refused and who was in the way, and how long nobody answered: from the events alone.
#[must_use]
pub(super) fn the_end(events: &[Event]) -> String {
    let mut text = String::new();
    let died = events.iter().find_map(|event| match &event.body {
        Body::Exit(exit) => Some((event.time, exit)),
        _ => None,
    });
    if let Some((_, exit)) = died {
        let _ = writeln!(text, "{}: {}.", name(&exit.process), sanitize(&exit.cause.summary));
    }
    let refused = events.iter().find_map(|event| match &event.body {
        Body::Bind(bind) => Some(bind),
        _ => None,
    });
    if let Some(bind) = refused {
        let _ = write!(text, "{} could not bind {}", name(&bind.process), bind.socket.name());
        for holder in &bind.holders {
            let relation = serde_json::to_value(holder.relation).ok();
            let relation = relation.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
            let _ = write!(text, ": {} ({relation}) had it", name(&holder.process));
        }
        text.push_str(".\n");
    }
    let serves = events.iter().rev().find_map(|event| match &event.body {
        Body::Listen(listen) => Some((event.time, listen)),
        _ => None,
    });
    if let (Some((dark, _)), Some((light, listen))) = (died, serves)
        && dark < light
    {
        let span = human::span(light.0.duration_since(dark.0).as_secs_f64());
        let (who, what) = (name(&listen.process), listen.socket.name());
        let _ = writeln!(text, "{who} serves {what} again. Nobody answered there for {span}.");
    }
    text
}

/// `node 2211`.
fn name(process: &Process) -> String {
    let comm = process.comm.as_deref().unwrap_or("process");
    format!("{} {}", sanitize(comm), process.pid)
}
