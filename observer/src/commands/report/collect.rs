//! Reads the whole store once, for the page.
//!
//! **Bounded:** [`INCIDENTS`] incidents, [`HOSTS`] hosts; the tables of the page have bounds of their own.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use crate::{
    cli::ReportArgs,
    diagnose::incident::{Incidents, ownership::Ownership},
    filter::Filter,
    format::html::{PageClock, Report},
    model::{Body, Event, IncidentEvent, Kind, Process, SCHEMA, Socket, Time},
    store::{
        Folder,
        query::{Flow, Query},
    },
};

/// Most incidents of a page.
const INCIDENTS: usize = 300;
/// Most hosts that are named.
const HOSTS: usize = 16;

/// Reads the store. All of it: what began before the time that is asked for may reach into it. `now`: it is written at
/// this moment.
pub(super) fn collect(
    folder: &Folder,
    args: &ReportArgs,
    now: Option<Timestamp>,
    clock: PageClock,
) -> Result<Report> {
    let filter = &args.filter;
    let mut report = Report::new(clock, Timestamp::now());
    report.asked = (filter.since, filter.until);
    report.filtered = !filter.is_about_time_only();
    let mut ownership = Ownership::of(|socket: &Socket, process: Option<&Process>, from, to| {
        is_span_wanted(filter, socket, process, from, to)
    });
    let mut kept = KeptIncidents::of(filter);
    let mut open = Incidents::looking_back();
    let mut before = None;
    let mut end = now.map(Time);
    let each = |_: &[u8], event: Option<Event>| {
        let Some(event) = event else { return Ok(Flow::Continue) };
        for incident in open.push(&event) {
            kept.take(incident, event.time);
        }
        end = end.max(Some(event.time));
        if report.hosts.len() < HOSTS {
            report.hosts.insert(event.host.clone());
        }
        ownership.push(&event);
        if is_before(filter, &event) {
            // The last session before says what was running then.
            if let Body::Session(_) = &event.body {
                before = Some(event);
            }
        } else if is_wanted(filter, &event) {
            if let Some(before) = before.take() {
                report.push(&before);
            }
            wanted(&mut report, args, &event);
        }
        Ok(Flow::Continue)
    };
    let everything = Filter::default();
    let met = Query::new(&everything).run(folder, |_| (), each, true)?;
    met.warn();
    report.unreadable = met.unreadable;
    report.broken = met.broken;
    if let Some(before) = before {
        report.push(&before);
    }
    if let Some(end) = end {
        let grown = if now.is_some() { open.tick(end) } else { Vec::new() };
        grown.into_iter().chain(open.finish()).for_each(|incident| kept.take(incident, end));
    }
    (report.incidents, report.incidents_left_out) = kept.by_time();
    (report.served, report.outages) = ownership.finish(now.map(Time));
    Ok(report)
}

fn is_before(filter: &Filter, event: &Event) -> bool {
    filter.since.is_some_and(|since| event.time.0 < since)
}

/// A loss counts when its span reaches into the time that is asked for.
fn is_wanted(filter: &Filter, event: &Event) -> bool {
    match &event.body {
        Body::Loss(loss) => overlaps(filter, loss.from, loss.to.max(event.time)),
        _ => filter.in_time(event) && filter.matches(event),
    }
}

fn wanted(report: &mut Report, args: &ReportArgs, event: &Event) {
    let (first, last) = report.span.unwrap_or((event.time, event.time));
    report.span = Some((first.min(event.time), last.max(event.time)));
    match &event.body {
        Body::Exit(exit) if exit.status.code == Some(0) && !args.all => report.ordinary += 1,
        _ => report.push(event),
    }
}

fn overlaps(filter: &Filter, from: Time, to: Time) -> bool {
    filter.since.is_none_or(|since| to.0 >= since)
        && filter.until.is_none_or(|until| from.0 <= until)
}

fn is_span_wanted(
    filter: &Filter,
    socket: &Socket,
    process: Option<&Process>,
    from: Time,
    to: Time,
) -> bool {
    let kinds = [Kind::Listen, Kind::Release];
    (filter.kind.is_empty() || kinds.iter().any(|kind| filter.kind.contains(kind)))
        && (filter.port.is_empty() || socket.port.is_some_and(|port| filter.port.contains(&port)))
        && filter.process(process.unwrap_or(&Process::default()))
        && overlaps(filter, from, to)
}

/// The newest incidents that are wanted.
struct KeptIncidents<'a> {
    filter: &'a Filter,
    /// What is wanted at any time: an incident is as long as it is.
    timeless: Filter,
    incidents: BTreeMap<(Time, Time, u64), IncidentEvent>,
    number: u64,
    left_out: u64,
}

impl<'a> KeptIncidents<'a> {
    fn of(filter: &'a Filter) -> Self {
        let timeless = Filter { since: None, until: None, ..filter.clone() };
        Self { filter, timeless, incidents: BTreeMap::new(), number: 0, left_out: 0 }
    }

    /// `end`: what is open lasts until then, as far as the store says.
    fn take(&mut self, incident: IncidentEvent, end: Time) {
        let to = if incident.open { incident.to.max(end) } else { incident.to };
        let reaches = overlaps(self.filter, incident.from, to);
        let (time, key) = (incident.to, (incident.to, incident.from, self.number));
        let body = Body::Incident(Box::new(incident));
        let (boot_id, host) = ("".into(), "".into());
        let event = Event { schema: SCHEMA, seq: None, time, boot_id, host, body };
        let Body::Incident(incident) = &event.body else { return };
        if !reaches || !self.timeless.matches(&event) {
            return;
        }
        self.number += 1;
        self.incidents.insert(key, (**incident).clone());
        if self.incidents.len() > INCIDENTS {
            self.incidents.pop_first();
            self.left_out += 1;
        }
    }

    fn by_time(self) -> (Vec<IncidentEvent>, u64) {
        let mut incidents: Vec<_> = self.incidents.into_values().collect();
        incidents.sort_by_key(|incident| (incident.from, incident.to));
        (incidents, self.left_out)
    }
}
