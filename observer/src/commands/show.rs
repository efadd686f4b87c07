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
    /// Lines on their way, used again: a storm would otherwise spend its time on allocations.
    lines: Vec<u8>,
}

/// So much is written at a time.
const CHUNK: usize = 128 * 1024;

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
            lines: Vec::new(),
        }
    }

    /// Writes those that are wanted, and flushes. What was not flushed when the future is dropped counts as not shown.
    pub async fn events(&mut self, events: &[Event]) -> Result<Reader> {
        let mut batch: BTreeMap<Kind, u64> = BTreeMap::new();
        let json = self.args.json || self.args.format == Format::Json;
        let mut wanted = Vec::with_capacity(events.len());
        for event in events {
            if let Body::Loss(loss) = &event.body {
                self.lost = self.lost.saturating_add(loss.total());
            }
            if self.args.filter.matches(event) && (json || !self.is_background(event)) {
                wanted.push(event);
                *batch.entry(event.body.kind()).or_default() += 1;
            }
        }
        // All of them, before the first wait.
        self.unshown += wanted.len();
        self.lines.clear();
        for event in &wanted {
            if json {
                serde_json::to_writer(&mut self.lines, event)?;
                self.lines.push(b'\n');
            } else {
                self.lines.extend_from_slice(self.text.event(event).as_bytes());
            }
            if self.lines.len() >= CHUNK && self.write().await? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        if self.write().await? == Reader::Gone {
            return Ok(Reader::Gone);
        }
        let reader = self.output.flush().await.context("can't write to standard output")?;
        self.unshown -= wanted.len();
        for (kind, count) in batch {
            *self.shown.entry(kind).or_default() += count;
        }
        Ok(reader)
    }

    async fn write(&mut self) -> Result<Reader> {
        let reader = self.output.write(&self.lines).await;
        self.lines.clear();
        reader.context("can't write to standard output")
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
