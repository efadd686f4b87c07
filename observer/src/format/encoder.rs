//! Events in the format that was asked for: one door for `tail`, `replay`, `log` and `why`.

use std::io::IsTerminal as _;

use anyhow::Result;

use super::{csv, ecs, text::TextFormat};
use crate::{model::Event, sanitize::for_terminal};

/// Writes events in one format.
pub enum Encoder {
    /// For people.
    Text(TextFormat),
    /// One JSON object a line.
    Json,
    /// One CSV line each.
    Csv,
    /// The Elastic Common Schema, one JSON object a line.
    Ecs,
}

impl Encoder {
    /// What comes before the first event.
    pub fn header(&self) -> Result<Vec<u8>> {
        match self {
            Self::Csv => Ok(csv::header()?.into_bytes()),
            Self::Text(_) | Self::Json | Self::Ecs => Ok(Vec::new()),
        }
    }

    /// Appends an event's lines, each ended. On a terminal no character of it is left raw that could hide or move things.
    pub fn event(&self, event: &Event, to: &mut Vec<u8>) -> Result<()> {
        let begin = to.len();
        match self {
            Self::Text(text) => to.extend_from_slice(text.event(event).as_bytes()),
            Self::Json => {
                serde_json::to_writer(&mut *to, event)?;
                to.push(b'\n');
            }
            Self::Csv => to.extend_from_slice(csv::event(event)?.as_bytes()),
            Self::Ecs => {
                to.extend_from_slice(ecs::event(event)?.as_bytes());
                to.push(b'\n');
            }
        }
        if !matches!(self, Self::Text(_)) && std::io::stdout().is_terminal() {
            let shown = for_terminal(&to[begin..]).into_owned();
            to.truncate(begin);
            to.extend_from_slice(&shown);
        }
        Ok(())
    }
}
