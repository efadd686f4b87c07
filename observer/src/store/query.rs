//! Finds the events that a filter wants, and parses as few others as it can.
//!
//! **Bounded:** reads one piece of a segment at a time, see `reader`.

use anyhow::Result;
use jiff::Timestamp;
use memchr::memmem::Finder;

use super::{
    Folder, Segment, folder,
    reader::{self, Pieces, Source, lines},
    seal::{Entry, What},
};
use crate::{
    filter::Filter,
    logging,
    model::{Body, Event, Kind, human},
};

/// A filter, prepared for lines.
pub struct Query<'a> {
    filter: &'a Filter,
    /// For each dimension of the filter, texts of which every matching line has at least one.
    needles: Vec<Vec<Finder<'static>>>,
    everything: bool,
}

/// Counts and faults of a search.
#[derive(Clone, Debug, Default)]
pub struct QueryReport {
    /// Bytes of events that were read.
    pub bytes: u64,
    /// Events that were lost in the requested time, by the store's own `loss` events.
    pub lost: u64,
    /// Lines that are not events.
    pub unreadable: u64,
    /// Segments that could not be read, or not to their end, and why.
    pub broken: Vec<String>,
}

impl QueryReport {
    /// Reports on stderr what could not be read.
    pub fn warn(&self) {
        for broken in &self.broken {
            logging::say(&format!("observer: {broken}: the rest of this segment is not shown"));
        }
        if self.unreadable > 0 {
            let lines = human::count(self.unreadable, "line");
            logging::say(&format!("observer: {lines} can't be read: `observer verify` says which"));
        }
    }
}

/// Whether a search continues after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Continue.
    Continue,
    /// Stop.
    Stop,
}

impl<'a> Query<'a> {
    /// Prepares a filter.
    #[must_use]
    pub fn new(filter: &'a Filter) -> Self {
        let everything = filter.is_about_time_only();
        Self { filter, needles: needles(filter), everything }
    }

    /// Calls `each` with every matching line, oldest segment first, and `progress` with the bytes read so far.
    /// `parse`: `each` needs the event, not only the line.
    pub fn run(
        &self,
        folder: &Folder,
        mut progress: impl FnMut(u64),
        mut each: impl FnMut(&[u8], Option<Event>) -> Result<Flow>,
        parse: bool,
    ) -> Result<QueryReport> {
        let segments = folder.segments()?;
        let mut report = QueryReport::default();
        for segment in &segments {
            if segment.events.is_none() || self.lies_outside(segment) {
                continue;
            }
            let mut pieces = match open(folder, segment) {
                Ok(Some(pieces)) => pieces,
                Ok(None) => continue,
                Err(error) => {
                    report.broken.push(format!("{error:#}"));
                    continue;
                }
            };
            loop {
                let piece = match pieces.next_piece() {
                    Ok([]) => break,
                    Ok(piece) => piece,
                    Err(error) => {
                        report.broken.push(format!("can't read all of {}: {error}", segment.stem));
                        break;
                    }
                };
                report.bytes += piece.len() as u64;
                if self.piece(piece, &mut report, &mut each, parse)? == Flow::Stop {
                    return Ok(report);
                }
                progress(report.bytes);
            }
        }
        Ok(report)
    }

    fn piece(
        &self,
        piece: &[u8],
        report: &mut QueryReport,
        each: &mut impl FnMut(&[u8], Option<Event>) -> Result<Flow>,
        parse: bool,
    ) -> Result<Flow> {
        let timed = self.filter.since.is_some() || self.filter.until.is_some();
        for line in lines(piece) {
            let ended = line.strip_suffix(b"\n");
            let text = ended.unwrap_or(line);
            if (timed && self.is_outside(text)) || !self.may_match(text) {
                continue;
            }
            if ended.is_some()
                && self.everything
                && !parse
                && self.filter.since.is_none()
                && self.filter.until.is_none()
                && is_object(text)
            {
                if each(text, None)? == Flow::Stop {
                    return Ok(Flow::Stop);
                }
                continue;
            }
            let Ok(event) = serde_json::from_slice::<Event>(text) else {
                // A line without an end is being written now, or was torn.
                report.unreadable += u64::from(ended.is_some());
                continue;
            };
            let in_time = self.filter.in_time(&event);
            if let Body::Loss(loss) = &event.body
                && in_time
            {
                report.lost = report.lost.saturating_add(loss.total());
            }
            if in_time && self.wants(&event) && each(text, Some(event))? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    /// Losses and sessions are shown without a filter, or if the filter asks for their kind.
    fn wants(&self, event: &Event) -> bool {
        let kind = event.body.kind();
        match kind {
            Kind::Loss | Kind::Session => self.everything || self.filter.kind.contains(&kind),
            _ => self.filter.matches(event),
        }
    }

    fn may_match(&self, line: &[u8]) -> bool {
        self.needles.iter().all(|any| any.iter().any(|needle| needle.find(line).is_some()))
            || (!self.needles.is_empty() && has_lists(line))
    }

    /// Whether a line has a time that is not asked for. The line alone decides: a clock may have been set between two of them.
    fn is_outside(&self, line: &[u8]) -> bool {
        let Some(time) = reader::time(line) else { return false };
        self.filter.since.is_some_and(|since| time < since)
            || self.filter.until.is_some_and(|until| time > until)
    }

    /// Whether no event of a segment is in the filter's time, by its seals: they have all of a closed segment, with the times of
    /// what they cover.
    fn lies_outside(&self, segment: &Segment) -> bool {
        if self.filter.since.is_none() && self.filter.until.is_none() {
            return false;
        }
        let Some((earliest, latest)) = times(segment) else { return false };
        self.filter.since.is_some_and(|since| latest < since)
            || self.filter.until.is_some_and(|until| earliest > until)
    }
}

/// The earliest and the latest time in a closed segment, if its seals say them of all its events.
fn times(segment: &Segment) -> Option<(Timestamp, Timestamp)> {
    let text = folder::read(&segment.seals).ok()?;
    let (mut times, mut closed): (Option<(Timestamp, Timestamp)>, _) = (None, false);
    for line in lines(&text) {
        let entry: Entry = serde_json::from_slice(line).ok()?;
        if let What::Seal(seal) = entry.what {
            closed = seal.closed;
            if seal.records.is_empty() {
                continue;
            }
            let (earliest, latest) = seal.earliest.zip(seal.latest)?;
            times = Some(
                times.map_or((earliest, latest), |(from, to)| (from.min(earliest), to.max(latest))),
            );
        }
    }
    times.filter(|_| closed)
}

/// Whether a line is a JSON object: anything else must not be shown as an event.
fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// Whether the needles can't find it: a loss concerns every search, and an incident has its processes and units in lists.
fn has_lists(line: &[u8]) -> bool {
    const KINDS: [&[u8]; 2] = [b"\"kind\":\"loss\"", b"\"kind\":\"incident\""];
    // `kind` is among the first few keys.
    let head = &line[..line.len().min(256)];
    KINDS.iter().any(|kind| memchr::memmem::find(head, kind).is_some())
}

/// Opens a segment; `None` if it was removed meanwhile.
fn open(folder: &Folder, segment: &Segment) -> Result<Option<Pieces<Source>>> {
    match reader::open(segment) {
        // It was compressed or removed since the folder was listed.
        Err(error) if reader::is_gone(&error) => {
            let again = folder.segments()?.into_iter().find(|s| s.stem == segment.stem);
            again.filter(|again| again.events.is_some()).map(|s| reader::open(&s)).transpose()
        }
        opened => opened.map(Some),
    }
}

/// For each dimension of the filter, texts of which every matching line has at least one, as this program writes JSON.
fn needles(filter: &Filter) -> Vec<Vec<Finder<'static>>> {
    let finders = |texts: Vec<String>| -> Vec<Finder<'static>> {
        texts.iter().map(|text| Finder::new(text).into_owned()).collect()
    };
    let key = |key: &str, value: &str| {
        // Escaped as in the file, without the quotes.
        let value = serde_json::to_string(value).unwrap_or_default();
        format!("\"{key}\":\"{}", value.trim_matches('"'))
    };
    let is_plain = |text: &&String| !text.contains(['*', '?', '"', '\\']);
    let all_plain = |texts: &[String]| texts.iter().all(|text| is_plain(&text));
    let mut all = Vec::new();
    if !filter.kind.is_empty() {
        all.push(finders(filter.kind.iter().map(|kind| key("kind", kind.name())).collect()));
    }
    if !filter.pid.is_empty() {
        all.push(finders(filter.pid.iter().map(|pid| format!("\"pid\":{pid}")).collect()));
    }
    if !filter.port.is_empty() {
        all.push(finders(filter.port.iter().map(|port| format!("\"port\":{port}")).collect()));
    }
    for (name, values) in [("comm", &filter.comm), ("unit", &filter.unit)] {
        if !values.is_empty() && all_plain(values) {
            all.push(finders(values.iter().map(|value| key(name, value)).collect()));
        }
    }
    if !filter.user.is_empty() && all_plain(&filter.user) {
        let texts = filter.user.iter().flat_map(|u| [key("user", u), format!("\"uid\":{u}")]);
        all.push(finders(texts.collect()));
    }
    if !filter.container.is_empty() && all_plain(&filter.container) {
        let begin = |id: &String| key("container", &id.chars().take(12).collect::<String>());
        all.push(finders(filter.container.iter().map(begin).collect()));
    }
    all
}
