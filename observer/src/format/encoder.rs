//! Events in the format that was asked for: one door for `tail`, `replay`, `log` and `why`.

use anyhow::Result;

use super::{csv, ecs, json::JsonLines, text::TextFormat};
use crate::{model::Event, sanitize::for_terminal};

/// How an event is written.
pub enum Encoding {
    /// For people.
    Text(TextFormat),
    /// One JSON object a line.
    Json,
    /// One CSV line each.
    Csv,
    /// The Elastic Common Schema, one JSON object a line.
    Ecs,
}

/// Writes events in one format.
pub struct Encoder {
    encoding: Encoding,
    lines: JsonLines,
    /// The reader is a terminal.
    terminal: bool,
}

impl Encoder {
    /// For that reader. Whether it is a terminal is asked once: a system call for each event would cost a twentieth of it.
    #[must_use]
    pub fn new(encoding: Encoding, terminal: bool) -> Self {
        Self { encoding, lines: JsonLines::default(), terminal }
    }

    /// Whether people read it.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.encoding, Encoding::Text(_))
    }

    /// What comes before the first event.
    pub fn header(&self) -> Result<Vec<u8>> {
        match self.encoding {
            Encoding::Csv => Ok(csv::header()?.into_bytes()),
            Encoding::Text(_) | Encoding::Json | Encoding::Ecs => Ok(Vec::new()),
        }
    }

    /// Appends an event's lines, each ended. On a terminal no character of it is left raw that could hide or move things.
    pub fn event(&mut self, event: &Event, to: &mut Vec<u8>) -> Result<()> {
        let begin = to.len();
        match &self.encoding {
            Encoding::Text(text) => to.extend_from_slice(text.event(event).as_bytes()),
            Encoding::Json => self.lines.line(event, to)?,
            Encoding::Csv => to.extend_from_slice(csv::event(event)?.as_bytes()),
            Encoding::Ecs => {
                to.extend_from_slice(ecs::event(event)?.as_bytes());
                to.push(b'\n');
            }
        }
        if self.terminal && !self.is_text() {
            let shown = for_terminal(&to[begin..]).into_owned();
            to.truncate(begin);
            to.extend_from_slice(&shown);
        }
        Ok(())
    }
}
