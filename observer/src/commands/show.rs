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
    filter::Filter,
    format::{Encoder, encoder::Encoding, style::Palette, text::TextFormat},
    model::{Body, Event, Kind, human::count},
    stdout::{Reader, StdoutWriter},
};

/// Filters, formats, writes and counts.
pub struct Show<'a> {
    filter: &'a Filter,
    encoder: Encoder,
    output: StdoutWriter,
    shown: BTreeMap<Kind, u64>,
    lost: u64,
    /// Taken in, and not known to be shown.
    taken: BTreeMap<Kind, u64>,
    /// The lines of those, in memory that is used again: a storm would otherwise spend its time on allocations.
    lines: Vec<u8>,
    /// How much of them was handed over.
    sent: usize,
}

/// The encoder of a format, on standard output.
#[must_use]
pub fn encoder(format: Format, zone: TimeZone) -> Encoder {
    let encoding = match format {
        Format::Text => {
            let text = TextFormat::new(Palette::for_stdout(), zone);
            Encoding::Text(text.within(std::io::stdout()))
        }
        Format::Json => Encoding::Json,
        Format::Csv => Encoding::Csv,
        Format::Ecs => Encoding::Ecs,
    };
    Encoder::new(encoding, std::io::stdout().is_terminal())
}

/// How long the reader may take for one piece of the last lines, and for all of them: one that hangs must not keep us.
const PATIENCE: Duration = Duration::from_secs(1);
const LAST_WORDS: Duration = Duration::from_secs(5);

/// So much of the memory is kept from one time to the next, in bytes.
const KEPT: usize = 512 * 1024;

const WRITE: &str = "can't write to standard output";

impl<'a> Show<'a> {
    /// To standard output.
    pub fn new(args: &'a ShowArgs, zone: TimeZone) -> Result<Self> {
        let encoder = encoder(args.format(), zone);
        Ok(Self {
            filter: &args.filter,
            lines: encoder.header()?,
            encoder,
            output: StdoutWriter::stdout(),
            shown: BTreeMap::new(),
            lost: 0,
            taken: BTreeMap::new(),
            sent: 0,
        })
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
        let background = self.encoder.is_text() && self.is_background(event);
        if background || !self.filter.matches(event) {
            return Ok(());
        }
        *self.taken.entry(event.body.kind()).or_default() += 1;
        self.encoder.event(event, &mut self.lines)
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
            && !self.filter.kind.contains(&Kind::Listen)
            && self.filter.port.is_empty()
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
