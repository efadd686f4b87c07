//! `observer why`: the incidents of a port, a process, a unit or a path, or the newest ones; from the store alone.

mod source;

use std::sync::Arc;

use anyhow::Result;
use jiff::tz::TimeZone;

use crate::{
    cli::{Settings, WhyArgs},
    diagnose::incident,
    error::status,
    filter::Filter,
    logging,
    model::{Body, Event, IncidentEvent, SCHEMA, human},
    sanitize::sanitize,
    stdout,
    store::Folder,
    subject::Subject,
};

use super::show::encoder;
use source::{History, read_store};

/// Shows the incidents.
pub fn run(args: &WhyArgs, settings: &Settings) -> Result<u8> {
    Filter { since: args.since, until: args.until, ..Filter::default() }.check()?;
    let folder = Folder::with_events(&settings.dir)?;
    // While a service writes this store, no event means that nothing happened since.
    let now = folder.is_written().then(jiff::Timestamp::now);
    let wanted = |incident: &_| is_wanted(args, incident);
    let past = read_store(&folder, now, args.last, wanted, |event| met(args, event))?;
    past.met.warn();
    let whole = past.met.broken.is_empty();
    let shown = if past.incidents.is_empty() {
        nothing(args, &past)?
    } else {
        let events: Vec<Event> = past.incidents.into_iter().map(event).collect();
        show(args, &events)?;
        status::DONE
    };
    Ok(if whole { shown } else { status::UNREACHABLE })
}

fn is_wanted(args: &WhyArgs, incident: &IncidentEvent) -> bool {
    args.subject.as_ref().is_none_or(|subject| subject.matches(incident))
        && args.since.is_none_or(|since| incident.open || incident.to.0 >= since)
        && args.until.is_none_or(|until| incident.from.0 <= until)
}

fn met(args: &WhyArgs, event: &Event) -> bool {
    args.subject.as_ref().is_some_and(|subject| subject.met(event))
        && args.since.is_none_or(|since| event.time.0 >= since)
        && args.until.is_none_or(|until| event.time.0 <= until)
}

/// The incident as an event of its own. It is in no store, and has no `seq`.
fn event((incident, boot_id, host): (IncidentEvent, Arc<str>, Arc<str>)) -> Event {
    Event {
        schema: SCHEMA,
        seq: None,
        time: incident.to,
        boot_id,
        host,
        body: Body::Incident(Box::new(incident)),
    }
}

/// No incident: what happened all the same, such as a requested stop, and who serves a port.
fn nothing(args: &WhyArgs, past: &History) -> Result<u8> {
    if let Some(subject) = &args.subject {
        let served = incident::served(&past.serving).into_iter();
        let served = served.filter(|event| serves(subject, event));
        let events: Vec<Event> = past.events.iter().chain(served).cloned().collect();
        show(args, &events)?;
    }
    let zone = TimeZone::system();
    let clock = |time: jiff::Timestamp| {
        time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let what = match &args.subject {
        Some(subject) if !past.events.is_empty() => {
            let events = human::count(past.events.len() as u64, "event");
            format!("no incident concerns {subject}, only {events} in the store")
        }
        Some(subject) => format!("no incident in the store concerns {subject}"),
        None => "there is no incident in the store".to_owned(),
    };
    let span = match past.span {
        Some((first, last)) => format!(", from {} to {}", clock(first), clock(last)),
        None if past.met.broken.is_empty() => ", which is empty".to_owned(),
        None => ", as far as it can be read".to_owned(),
    };
    logging::say(&sanitize(&format!("observer: {what}{span}")));
    Ok(if past.events.is_empty() { status::NO_MATCH } else { status::DONE })
}

fn serves(subject: &Subject, event: &Event) -> bool {
    matches!(&event.body, Body::Listen(listen) if subject.is_socket(&listen.socket))
}

fn show(args: &WhyArgs, events: &[Event]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut encoder = encoder(args.format(), TimeZone::system());
    let mut out = encoder.header()?;
    for event in events {
        encoder.event(event, &mut out)?;
    }
    stdout::print(&String::from_utf8_lossy(&out))?;
    Ok(())
}
