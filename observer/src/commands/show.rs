//! What every command that shows events does with them.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use jiff::tz::TimeZone;

use crate::{
    cli::{Format, ShowArgs},
    model::{Body, Event, Kind, human::count},
    sinks::{
        sanitize::for_terminal,
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
    terminal: bool,
    shown: BTreeMap<Kind, u64>,
    lost: u64,
    /// Taken in, and not known to be shown.
    taken: BTreeMap<Kind, u64>,
    /// The lines of those, in memory that is used again: a storm would otherwise spend its time on allocations.
    lines: Vec<u8>,
    /// How much of them was handed over.
    sent: usize,
}

/// How long the reader may take for one piece of the last lines, and for all of them: one that hangs must not keep us.
const PATIENCE: Duration = Duration::from_secs(1);
const LAST_WORDS: Duration = Duration::from_secs(5);

/// So much of it is kept from one time to the next, in bytes.
const KEPT: usize = 512 * 1024;

const WRITE: &str = "can't write to standard output";

impl<'a> Show<'a> {
    /// To standard output.
    #[must_use]
    pub fn new(args: &'a ShowArgs, zone: TimeZone) -> Self {
        Self {
            args,
            text: TextFormat::new(Palette::for_stdout(), zone).within(std::io::stdout()),
            output: Output::stdout(),
            terminal: std::io::stdout().is_terminal(),
            shown: BTreeMap::new(),
            lost: 0,
            taken: BTreeMap::new(),
            lines: Vec::new(),
            sent: 0,
        }
    }

    /// Writes those that are wanted, and flushes. What was not when the future is dropped counts as not shown.
    pub async fn events(&mut self, events: &[Event]) -> Result<Reader> {
        for event in events {
            self.take(event)?;
        }
        self.flush().await
    }

    /// Takes an event in; [`Self::flush`] shows it.
    pub fn take(&mut self, event: &Event) -> Result<()> {
        if let Body::Loss(loss) = &event.body {
            self.lost = self.lost.saturating_add(loss.total());
        }
        let json = self.args.json || self.args.format == Format::Json;
        if !self.args.filter.matches(event) || (!json && self.is_background(event)) {
            return Ok(());
        }
        *self.taken.entry(event.body.kind()).or_default() += 1;
        if json {
            if self.terminal {
                self.lines.extend_from_slice(&for_terminal(&serde_json::to_vec(event)?));
            } else {
                serde_json::to_writer(&mut self.lines, event)?;
            }
            self.lines.push(b'\n');
        } else {
            self.lines.extend_from_slice(self.text.event(event).as_bytes());
        }
        Ok(())
    }

    /// Writes what was taken in. When the future is dropped, the next one goes on where it was.
    pub async fn flush(&mut self) -> Result<Reader> {
        loop {
            let reader = self.piece().await?;
            if reader == Reader::Gone || self.sent == self.lines.len() {
                return Ok(reader);
            }
        }
    }

    /// As [`Self::flush`], as far as somebody takes it: what is left counts as not shown. It ends
    /// with a line, unless the reader hangs in the midst of a piece.
    pub async fn last_words(&mut self) -> Result<()> {
        let end = Instant::now() + LAST_WORDS;
        loop {
            let Ok(reader) = tokio::time::timeout(PATIENCE, self.piece()).await else {
                return Ok(());
            };
            if reader? == Reader::Gone || self.sent == self.lines.len() || Instant::now() > end {
                return Ok(());
            }
        }
    }

    async fn piece(&mut self) -> Result<Reader> {
        let reader = self.output.write(&self.lines, &mut self.sent).await.context(WRITE)?;
        if reader == Reader::There && self.sent == self.lines.len() {
            for (kind, count) in std::mem::take(&mut self.taken) {
                *self.shown.entry(kind).or_default() += count;
            }
            self.sent = 0;
            self.lines.clear();
            self.lines.shrink_to(KEPT);
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
        let unshown = match self.taken.values().sum::<u64>() {
            0 => String::new(),
            n => format!(" at most {} not shown, since nobody took them;", count(n, "event")),
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
