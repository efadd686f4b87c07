//! Events for people: one headline, then aligned details, within 100 columns.

mod bind;
mod exit;
mod incident;
mod layout;
mod oom;
mod other;

pub(super) use layout::{command, who};

use std::os::fd::AsFd;

use jiff::tz::TimeZone;

use super::style::Palette;
use crate::model::{Body, Event};

/// Writes events as text.
#[derive(Clone, Debug)]
pub struct TextFormat {
    palette: Palette,
    zone: TimeZone,
    columns: usize,
}

/// Columns when nothing else is known; also the most that is used.
const COLUMNS: usize = 100;
/// Fewer would leave no room beside the names of the details.
const FEWEST: usize = 50;

impl TextFormat {
    /// For people: times in `zone`, no wider than 100 columns.
    #[must_use]
    pub fn new(palette: Palette, zone: TimeZone) -> Self {
        Self { palette, zone, columns: COLUMNS }
    }

    /// The same, but no wider than that terminal, if it is one.
    #[must_use]
    pub fn within(mut self, terminal: impl AsFd) -> Self {
        if let Ok(size) = rustix::termios::tcgetwinsize(terminal)
            && size.ws_col > 0
        {
            self.columns = usize::from(size.ws_col).clamp(FEWEST, COLUMNS);
        }
        self
    }

    /// The lines of an event, each ended.
    #[must_use]
    pub fn event(&self, event: &Event) -> String {
        let time = match &event.body {
            // An incident is emitted at its end, and read from its beginning.
            Body::Incident(incident) => incident.from,
            _ => event.time,
        };
        let mut lines = layout::Lines::new(self, time);
        match &event.body {
            Body::Exit(exit) => exit::lines(&mut lines, exit),
            Body::Oom(oom) => oom::lines(&mut lines, oom),
            Body::Bind(bind) => bind::bind(&mut lines, bind),
            Body::Listen(listen) => bind::listen(&mut lines, listen),
            Body::Release(release) => bind::release(&mut lines, release),
            Body::Incident(incident) => incident::lines(&mut lines, incident),
            Body::Flood(flood) => other::flood(&mut lines, flood),
            Body::Loss(loss) => other::loss(&mut lines, loss),
            Body::Session(session) => other::session(&mut lines, session, &event.host),
        }
        lines.finish()
    }
}

#[cfg(test)]
mod tests;
