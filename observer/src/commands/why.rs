//! `observer why`: the story of a port, a process, a unit or a path, or the newest ones; from the records alone.

mod source;

use std::path::Path;

use anyhow::Result;
use jiff::tz::TimeZone;

use crate::{
    cli::{Format, WhyArgs},
    diagnose::story,
    error::{Failure, status},
    logging,
    model::{Body, Event, IncidentEvent, SCHEMA},
    sinks::{sanitize::sanitize, stdout, style::Palette, text::TextFormat},
    subject::Subject,
};

/// Tells the stories.
pub fn run(args: &WhyArgs, dir: &Path) -> Result<u8> {
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since > until
    {
        let text = "--since lies after --until: nothing can happen in between";
        return Err(Failure::Usage(text.to_owned()).into());
    }
    let events = source::read_events(dir)?;
    let mut incidents = story::stories(&events);
    incidents.retain(|incident| is_wanted(args, incident));
    incidents.sort_by_key(|incident| (incident.to, incident.from));
    let newest = incidents.split_off(incidents.len().saturating_sub(args.last));
    if newest.is_empty() {
        return nothing(args, &events);
    }
    let told: Vec<Event> =
        newest.into_iter().filter_map(|incident| event(incident, &events)).collect();
    show(args, &told)?;
    Ok(status::DONE)
}

fn is_wanted(args: &WhyArgs, incident: &IncidentEvent) -> bool {
    args.subject.as_ref().is_none_or(|subject| subject.matches(incident))
        && args.since.is_none_or(|since| incident.open || incident.to.0 >= since)
        && args.until.is_none_or(|until| incident.from.0 <= until)
}

/// The story as an event of its own; it is numbered as the newest event it tells of, for it is in no record itself.
fn event(incident: IncidentEvent, events: &[Event]) -> Option<Event> {
    let of = |wanted| events.iter().find(move |event| event.time == wanted);
    let last = of(incident.to).or_else(|| of(incident.from))?;
    Some(Event {
        schema: SCHEMA,
        seq: last.seq,
        time: incident.to,
        boot_id: last.boot_id.clone(),
        host: last.host.clone(),
        body: Body::Incident(Box::new(incident)),
    })
}

/// No story: says so, and who serves a port that nothing happened to.
fn nothing(args: &WhyArgs, events: &[Event]) -> Result<u8> {
    if let Some(subject) = &args.subject {
        let served: Vec<Event> = story::served(events)
            .into_iter()
            .filter(|event| serves(subject, event))
            .cloned()
            .collect();
        show(args, &served)?;
    }
    let zone = TimeZone::system();
    let clock = |event: &Event| {
        event.time.0.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let what = match &args.subject {
        Some(subject) => format!("no incident concerns {subject} in the record"),
        None => "there is no incident in the record".to_owned(),
    };
    let first = events.iter().min_by_key(|event| event.time).map(clock);
    let last = events.iter().max_by_key(|event| event.time).map(clock);
    let span = match (first, last) {
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => ", which is empty".to_owned(),
    };
    logging::say(&sanitize(&format!("observer: {what}{span}")));
    Ok(status::NO_MATCH)
}

fn serves(subject: &Subject, event: &Event) -> bool {
    matches!(&event.body, Body::Listen(listen) if subject.is_socket(&listen.socket))
}

fn show(args: &WhyArgs, events: &[Event]) -> Result<()> {
    let text = TextFormat::new(Palette::for_stdout(), TimeZone::system()).within(std::io::stdout());
    let mut out = String::new();
    for event in events {
        if args.json || args.format == Format::Json {
            out.push_str(&(serde_json::to_string(event)? + "\n"));
        } else {
            out.push_str(&text.event(event));
        }
    }
    stdout::print(&out)?;
    Ok(())
}
