//! What every command that shows events does with them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;

use crate::{
    cli::{Format, ShowArgs},
    model::{Body, Event, Kind, human::count},
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
    unshown: usize,
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
            unshown: 0,
        }
    }

    /// Writes those that are wanted, and flushes. What was not flushed when the future is dropped counts as not shown.
    pub async fn events(&mut self, events: &[Event]) -> Result<Reader> {
        let mut batch: BTreeMap<Kind, u64> = BTreeMap::new();
        let mut lines = Vec::new();
        for event in events {
            if let Body::Loss(loss) = &event.body {
                self.lost = self.lost.saturating_add(loss.total());
            }
            if !self.args.filter.matches(event) {
                continue;
            }
            let json = self.args.json || self.args.format == Format::Json;
            if !json && self.is_background(event) {
                continue;
            }
            lines.push(if json {
                serde_json::to_string(event)? + "\n"
            } else {
                self.text.event(event)
            });
            *batch.entry(event.body.kind()).or_default() += 1;
        }
        self.unshown += lines.len();
        for line in &lines {
            if self.output.write(line).await.context("can't write to standard output")?
                == Reader::Gone
            {
                return Ok(Reader::Gone);
            }
        }
        let reader = self.output.flush().await.context("can't write to standard output")?;
        self.unshown -= lines.len();
        for (kind, count) in batch {
            *self.shown.entry(kind).or_default() += count;
        }
        Ok(reader)
    }

    /// What was served already at the start: a hundred lines that nobody asked for, unless somebody did.
    fn is_background(&self, event: &Event) -> bool {
        matches!(&event.body, Body::Listen(listen) if listen.initial)
            && !self.args.filter.kind.contains(&Kind::Listen)
            && self.args.filter.port.is_empty()
    }

    /// What was shown, and what could not be, in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let shown = |kind| self.shown.get(&kind).copied().unwrap_or(0);
        let unshown = match self.unshown {
            0 => String::new(),
            n => format!(" at most {} not shown, since nobody read on;", count(n as u64, "event")),
        };
        format!(
            "observer: {}, {}, {} shown;{unshown} {} lost",
            count(shown(Kind::Exit), "death"),
            count(shown(Kind::Oom), "OOM kill"),
            count(shown(Kind::Bind), "refused bind"),
            count(self.lost, "record"),
        )
    }
}
