//! Stored events as one page of HTML that needs nothing else: no script, nothing from outside, readable on paper.
//!
//! Every text goes through `maud`, which escapes it, and the finished page as a whole through
//! [`sanitize`](crate::sanitize::sanitize): our own markup has no control character in it, so that none of somebody else's
//! can be left. No text is longer than [`words::cut`] allows.

mod deaths;
mod density;
mod head;
mod incidents;
mod ports;
mod refusals;
mod style;
mod table;
mod timeline;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    diagnose::incident::ownership::{Kept, OutageSpan, ServedSpan},
    model::{Body, Event, IncidentEvent, SessionEvent, Time},
    store::verify,
};

pub use density::Density;
pub use table::Rows;
pub use words::PageClock;

use crate::sanitize::sanitize;

/// What a page shows.
pub struct Report {
    /// How times are shown.
    pub clock: PageClock,
    /// When it is written.
    pub written: Timestamp,
    /// The span that was asked for.
    pub asked: (Option<Timestamp>, Option<Timestamp>),
    /// Only a part of the events is wanted, not all of that span.
    pub filtered: bool,
    /// First and last event of that span.
    pub span: Option<(Time, Time)>,
    /// Hosts that the events are of.
    pub hosts: BTreeSet<Arc<str>>,
    /// Versions of the kernel and of observer, the newest last.
    pub versions: Vec<(String, String)>,
    /// The incidents.
    pub incidents: Vec<IncidentEvent>,
    /// How many older incidents are left out.
    pub incidents_left_out: u64,
    /// Deaths.
    pub deaths: Rows,
    /// Deaths with exit code 0 that are left out.
    pub ordinary: u64,
    /// OOM kills.
    pub ooms: Rows,
    /// Refused binds and listens.
    pub refusals: Rows,
    /// Events of kinds `listen` and `release` that matched.
    pub changes: u64,
    /// Where deaths, OOM kills and refusals lie in time.
    pub marks: [Density; 3],
    /// Who served what.
    pub served: Kept<ServedSpan>,
    /// Outages.
    pub outages: Kept<OutageSpan>,
    /// Floods: events that were counted and not stored.
    pub floods: Rows,
    /// How many events those were.
    pub summed: u64,
    /// How many were lost, by kind.
    pub lost: BTreeMap<String, u64>,
    /// When and why.
    pub losses: Rows,
    /// Lines that are no events.
    pub unreadable: u64,
    /// Segments that could not be read, or not to their end, and why.
    pub broken: Vec<String>,
    /// Whether the stored events are those that were sealed; or why that is not known.
    pub verified: Result<verify::VerifyReport, String>,
}

impl Report {
    /// Nothing yet.
    #[must_use]
    pub fn new(clock: PageClock, written: Timestamp) -> Self {
        Self {
            clock,
            written,
            asked: (None, None),
            filtered: false,
            span: None,
            hosts: BTreeSet::new(),
            versions: Vec::new(),
            incidents: Vec::new(),
            incidents_left_out: 0,
            deaths: Rows::default(),
            ordinary: 0,
            ooms: Rows::default(),
            refusals: Rows::default(),
            changes: 0,
            marks: [Density::default(), Density::default(), Density::default()],
            served: Kept::default(),
            outages: Kept::default(),
            floods: Rows::default(),
            summed: 0,
            lost: BTreeMap::new(),
            losses: Rows::default(),
            unreadable: 0,
            broken: Vec::new(),
            verified: Err("nobody asked".to_owned()),
        }
    }

    /// Takes in an event that is wanted.
    pub fn push(&mut self, event: &Event) {
        let (time, seq) = (event.time, event.number());
        match &event.body {
            Body::Exit(exit) => {
                self.marks[0].push(time, seq, || deaths::label(exit));
                self.deaths.push(time, seq, || deaths::death(&self.clock, event, exit));
            }
            Body::Oom(oom) => {
                self.marks[1].push(time, seq, || deaths::oom_label(oom));
                self.ooms.push(time, seq, || deaths::oom(&self.clock, event, oom));
            }
            Body::Bind(bind) => {
                self.marks[2].push(time, seq, || refusals::label(bind));
                self.refusals.push(time, seq, || refusals::refusal(&self.clock, event, bind));
            }
            Body::Listen(_) | Body::Release(_) => self.changes += 1,
            Body::Flood(flood) => {
                self.summed = self.summed.saturating_add(flood.count);
                self.floods.push(time, seq, || head::flood(&self.clock, event, flood));
            }
            Body::Loss(loss) => {
                for (kind, lost) in &loss.lost {
                    *self.lost.entry(words::cut(kind)).or_default() += lost;
                }
                self.losses.push(time, seq, || head::loss(&self.clock, event, loss));
            }
            Body::Session(session) => self.session(session),
            Body::Incident(_) => {}
        }
    }

    fn session(&mut self, session: &SessionEvent) {
        const MOST: usize = 8;
        let versions = (words::cut(&session.kernel), words::cut(&session.version));
        self.versions.retain(|known| *known != versions);
        if self.versions.len() >= MOST {
            self.versions.remove(0);
        }
        self.versions.push(versions);
    }

    /// How many events and incidents there are to show.
    #[must_use]
    pub fn matched(&self) -> u64 {
        let rows = [&self.deaths, &self.ooms, &self.refusals, &self.floods];
        let rows = rows.map(Rows::total).iter().sum::<u64>();
        rows + self.changes + self.incidents.len() as u64 + self.incidents_left_out
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let rows = [&self.deaths, &self.ooms, &self.refusals, &self.floods, &self.losses];
        // What is in no row can't be led to.
        let ids: HashSet<u64> = rows.iter().flat_map(|rows| rows.seqs()).collect();
        let title = head::title(self);
        let style = style::text();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(style::policy(&style));
                    meta name="referrer" content="no-referrer";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(&style)) }
                }
                body {
                    (head::header(self, &title))
                    main {
                        (incidents::section(self, &ids))
                        (timeline::section(self, &ids))
                        (self.tables())
                        (ports::section(self))
                        (head::record(self))
                    }
                    footer { p { "Written by observer " (env!("CARGO_PKG_VERSION")) " at "
                        (self.clock.date(Time(self.written))) "." } }
                }
            }
        };
        lines(&sanitize(&page.into_string()))
    }

    fn tables(&self) -> Markup {
        html! {
            (deaths::section(self))
            (deaths::oom_section(self))
            (refusals::section(self))
        }
    }
}

/// Breaks the one long line, where that means nothing: no text of somebody else's has a `<` in it.
fn lines(page: &str) -> String {
    const ENDS: [&str; 9] = [
        "<!DOCTYPE html>",
        "</style>",
        "</tr>",
        "</section>",
        "</p>",
        "</li>",
        "</circle>",
        "</path>",
        "</text>",
    ];
    let mut text = page.to_owned();
    for end in ENDS {
        text = text.replace(end, &format!("{end}\n"));
    }
    text + "\n"
}

#[cfg(test)]
mod tests;
