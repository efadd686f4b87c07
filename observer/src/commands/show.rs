//! What every command that shows events does with them.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::tz::TimeZone;

use crate::{
    cli::{Format, ShowArgs},
    model::{Body, Event, Kind},
    sinks::{
        stdout::{Output, Reader},
        style::Palette,
        text::TextFormat,
    },
};

/// Filters, formats, writes and counts.
pub struct Show<'a> {
    args: &'a ShowArgs,
    text: TextFormat,
    output: Output,
    shown: BTreeMap<Kind, u64>,
    lost: u64,
}

impl<'a> Show<'a> {
    /// To standard output.
    #[must_use]
    pub fn new(args: &'a ShowArgs, zone: TimeZone) -> Self {
        Self {
            args,
            text: TextFormat::new(Palette::for_stdout(), zone).within(std::io::stdout()),
            output: Output::stdout(),
            shown: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Writes those that are wanted, and flushes.
    pub async fn events(&mut self, events: &[Event]) -> Result<Reader> {
        for event in events {
            if let Body::Loss(loss) = &event.body {
                self.lost += loss.lost.values().sum::<u64>();
            }
            if !self.args.filter.matches(event) {
                continue;
            }
            let text = if self.args.json || self.args.format == Format::Json {
                serde_json::to_string(event)? + "\n"
            } else {
                self.text.event(event)
            };
            if self.output.write(&text).await? == Reader::Gone {
                return Ok(Reader::Gone);
            }
            *self.shown.entry(event.body.kind()).or_default() += 1;
        }
        Ok(self.output.flush().await?)
    }

    /// What was shown, in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let shown = |kind| self.shown.get(&kind).copied().unwrap_or(0);
        let count = |n: u64, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        format!(
            "observer: {}, {} shown; {} lost",
            count(shown(Kind::Exit), "death"),
            count(shown(Kind::Oom), "OOM kill"),
            count(self.lost, "record"),
        )
    }
}
