//! Reads the whole store once, oldest event first.
//!
//! **Bounded:** about three times the incidents that are wanted, and as many events; the `listen` and `release` events of the store.

use std::{collections::VecDeque, sync::Arc};

use anyhow::Result;
use jiff::Timestamp;

use crate::{
    diagnose::incident::Incidents,
    filter::Filter,
    model::{Body, Event, IncidentEvent},
    store::{
        Folder,
        query::{Flow, Query, QueryReport},
    },
};

/// What the store has.
#[derive(Default)]
pub(super) struct History {
    /// The newest incidents that are wanted, with the boot and the host they are of.
    pub(super) incidents: VecDeque<(IncidentEvent, Arc<str>, Arc<str>)>,
    /// The newest events that are wanted, whether an incident names them or not.
    pub(super) events: VecDeque<Event>,
    /// Everything that says who serves what.
    pub(super) serving: Vec<Event>,
    /// What of it could not be read.
    pub(super) met: QueryReport,
    /// Times of the first and the last event.
    pub(super) span: Option<(Timestamp, Timestamp)>,
}

/// Reads the store. `now`: it is written at this moment, so that what is open lasts until now.
pub(super) fn read_store(
    folder: &Folder,
    now: Option<Timestamp>,
    most: usize,
    is_wanted: impl Fn(&IncidentEvent) -> bool,
    is_met: impl Fn(&Event) -> bool,
) -> Result<History> {
    let filter = Filter::default();
    let mut past = History::default();
    let mut open = Incidents::looking_back();
    let mut place: Option<(Arc<str>, Arc<str>)> = None;
    let keep =
        |past: &mut History, grown: Vec<IncidentEvent>, place: &Option<(Arc<str>, Arc<str>)>| {
            let Some((boot, host)) = place else { return };
            for incident in grown.into_iter().filter(&is_wanted) {
                past.incidents.push_back((incident, Arc::clone(boot), Arc::clone(host)));
                if past.incidents.len() > most.saturating_mul(2).saturating_add(64) {
                    past.incidents
                        .make_contiguous()
                        .sort_by_key(|(incident, ..)| (incident.to, incident.from));
                    past.incidents.drain(..past.incidents.len() - most);
                }
            }
        };
    let each = |_: &[u8], event: Option<Event>| {
        let Some(event) = event else { return Ok(Flow::Continue) };
        let time = event.time.0;
        let (first, last) = past.span.unwrap_or((time, time));
        past.span = Some((first.min(time), last.max(time)));
        let grown = open.push(&event).into_iter().filter(|incident| !incident.open).collect();
        keep(&mut past, grown, &place);
        place = Some((Arc::clone(&event.boot_id), Arc::clone(&event.host)));
        if is_met(&event) {
            past.events.push_back(event.clone());
            if past.events.len() > most {
                past.events.pop_front();
            }
        }
        if says_who_serves(&event.body) {
            past.serving.push(event);
        }
        Ok(Flow::Continue)
    };
    let met = Query::new(&filter).run(folder, |_| (), each, true)?;
    past.met = met;
    if let Some(now) = now {
        let grown = open.tick(crate::model::Time(now));
        keep(&mut past, grown.into_iter().filter(|incident| !incident.open).collect(), &place);
    }
    let grown = open.finish();
    keep(&mut past, grown, &place);
    past.incidents.make_contiguous().sort_by_key(|(incident, ..)| (incident.to, incident.from));
    let surplus = past.incidents.len().saturating_sub(most);
    past.incidents.drain(..surplus);
    Ok(past)
}

fn says_who_serves(body: &Body) -> bool {
    match body {
        Body::Listen(_) | Body::Release(_) | Body::Session(_) => true,
        Body::Exit(exit) => !exit.released.is_empty(),
        _ => false,
    }
}
