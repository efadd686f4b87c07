//! A look back over the record: every event once, in bounded memory.

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

/// What the record tells.
#[derive(Default)]
pub(super) struct History {
    /// The newest stories that are wanted, with the boot and the host they are of.
    pub(super) stories: VecDeque<(IncidentEvent, Arc<str>, Arc<str>)>,
    /// The newest events that are wanted, whether a story tells of them or not.
    pub(super) events: VecDeque<Event>,
    /// Everything that says who serves what.
    pub(super) serving: Vec<Event>,
    /// What of it could not be read.
    pub(super) met: QueryReport,
    /// Times of the first and the last event.
    pub(super) span: Option<(Timestamp, Timestamp)>,
}

/// Reads the record. `now`: it is written at this moment, so that what is open lasts until now.
pub(super) fn look_back(
    folder: &Folder,
    now: Option<Timestamp>,
    most: usize,
    is_wanted: impl Fn(&IncidentEvent) -> bool,
    is_met: impl Fn(&Event) -> bool,
) -> Result<History> {
    let filter = Filter::default();
    let mut past = History::default();
    let mut stories = Incidents::looking_back();
    let mut place: Option<(Arc<str>, Arc<str>)> = None;
    let keep = |past: &mut History,
                told: Vec<IncidentEvent>,
                place: &Option<(Arc<str>, Arc<str>)>| {
        let Some((boot, host)) = place else { return };
        for story in told.into_iter().filter(&is_wanted) {
            past.stories.push_back((story, Arc::clone(boot), Arc::clone(host)));
            if past.stories.len() > most.saturating_mul(2).saturating_add(64) {
                past.stories.make_contiguous().sort_by_key(|(story, ..)| (story.to, story.from));
                past.stories.drain(..past.stories.len() - most);
            }
        }
    };
    let each = |_: &[u8], event: Option<Event>| {
        let Some(event) = event else { return Ok(Flow::Continue) };
        let time = event.time.0;
        let (first, last) = past.span.unwrap_or((time, time));
        past.span = Some((first.min(time), last.max(time)));
        let told = stories.push(&event).into_iter().filter(|story| !story.open).collect();
        keep(&mut past, told, &place);
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
        let told = stories.tick(crate::model::Time(now));
        keep(&mut past, told.into_iter().filter(|story| !story.open).collect(), &place);
    }
    let told = stories.finish();
    keep(&mut past, told, &place);
    past.stories.make_contiguous().sort_by_key(|(story, ..)| (story.to, story.from));
    let surplus = past.stories.len().saturating_sub(most);
    past.stories.drain(..surplus);
    Ok(past)
}

fn says_who_serves(body: &Body) -> bool {
    match body {
        Body::Listen(_) | Body::Release(_) | Body::Session(_) => true,
        Body::Exit(exit) => !exit.released.is_empty(),
        _ => false,
    }
}
