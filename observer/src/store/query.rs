//! Finds the events that a filter wants, without parsing the others.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use memchr::memmem::Finder;

use super::{
    Folder, Segment,
    reader::{self, Pieces, Source, lines},
};
use crate::{
    filter::Filter,
    logging,
    model::{Body, Event, Kind, human},
};

/// Events are written in the order in which they are told, which may differ from that of their times by so much.
const DISORDER: SignedDuration = SignedDuration::from_mins(2);

/// A filter, ready to be held against lines.
pub struct Query<'a> {
    filter: &'a Filter,
    /// For each dimension of the filter: one of these texts stands in each line of one event that matches.
    needles: Vec<Vec<Finder<'static>>>,
    everything: bool,
}

/// What a scan has met.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Bytes of records that were looked at.
    pub bytes: u64,
    /// Records that the record itself says were lost, in the span that was asked for.
    pub lost: u64,
    /// Lines that are no events.
    pub unreadable: u64,
    /// Segments that could not be read, or not to their end, and why.
    pub broken: Vec<String>,
}

impl Met {
    /// Says on standard error what could not be read.
    pub fn say(&self) {
        for broken in &self.broken {
            logging::say(&format!("observer: {broken}: what else it has is not shown"));
        }
        if self.unreadable > 0 {
            let lines = human::count(self.unreadable, "line");
            logging::say(&format!("observer: {lines} can't be read: `observer verify` says which"));
        }
    }
}

/// What to do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// On.
    On,
    /// No further.
    Stop,
}

impl<'a> Query<'a> {
    /// Prepares a filter.
    #[must_use]
    pub fn new(filter: &'a Filter) -> Self {
        let everything = filter.is_about_time_only();
        Self { filter, needles: needles(filter), everything }
    }

    /// Hands each line that matches to `each`, oldest segment first; `progress` hears how many bytes of segments were read.
    pub fn run(
        &self,
        folder: &Folder,
        mut progress: impl FnMut(u64),
        mut each: impl FnMut(&[u8], Option<Event>) -> Result<Go>,
        parse: bool,
    ) -> Result<Met> {
        let segments = folder.segments()?;
        let mut met = Met::default();
        for (n, segment) in segments.iter().enumerate() {
            let next = segments.get(n + 1);
            if segment.events.is_none() || self.lies_outside(segment, next) {
                continue;
            }
            let mut pieces = match open(folder, segment) {
                Ok(Some(pieces)) => pieces,
                Ok(None) => continue,
                Err(error) => {
                    met.broken.push(format!("{error:#}"));
                    continue;
                }
            };
            loop {
                let piece = match pieces.next_piece() {
                    Ok([]) => break,
                    Ok(piece) => piece,
                    Err(error) => {
                        met.broken.push(format!("{} can't be read on: {error}", segment.stem));
                        break;
                    }
                };
                met.bytes += piece.len() as u64;
                if self.piece(piece, &mut met, &mut each, parse)? == Go::Stop {
                    return Ok(met);
                }
                progress(met.bytes);
            }
        }
        Ok(met)
    }

    fn piece(
        &self,
        piece: &[u8],
        met: &mut Met,
        each: &mut impl FnMut(&[u8], Option<Event>) -> Result<Go>,
        parse: bool,
    ) -> Result<Go> {
        if let Some(since) = self.filter.since
            && last_time(piece).is_some_and(|last| later(last) < since)
        {
            return Ok(Go::On);
        }
        for line in lines(piece) {
            let ended = line.strip_suffix(b"\n");
            let text = ended.unwrap_or(line);
            if !self.may_match(text) {
                continue;
            }
            if ended.is_some()
                && self.everything
                && !parse
                && self.filter.since.is_none()
                && self.filter.until.is_none()
                && is_object(text)
            {
                if each(text, None)? == Go::Stop {
                    return Ok(Go::Stop);
                }
                continue;
            }
            let Ok(event) = serde_json::from_slice::<Event>(text) else {
                // A line without end is being written right now, or was torn.
                met.unreadable += u64::from(ended.is_some());
                continue;
            };
            let in_time = self.filter.in_time(&event);
            if let Body::Loss(loss) = &event.body
                && in_time
            {
                met.lost = met.lost.saturating_add(loss.total());
            }
            if in_time && self.wants(&event) && each(text, Some(event))? == Go::Stop {
                return Ok(Go::Stop);
            }
        }
        Ok(Go::On)
    }

    /// A loss and a session concern everybody who reads along; whoever looks something up asks for them by kind.
    fn wants(&self, event: &Event) -> bool {
        let kind = event.body.kind();
        match kind {
            Kind::Loss | Kind::Session => self.everything || self.filter.kind.contains(&kind),
            _ => self.filter.matches(event),
        }
    }

    fn may_match(&self, line: &[u8]) -> bool {
        self.needles.iter().all(|any| any.iter().any(|needle| needle.find(line).is_some()))
            || (!self.needles.is_empty() && tells_of_several(line))
    }

    /// By the times in the names: a segment ends about where the next one begins.
    fn lies_outside(&self, segment: &Segment, next: Option<&Segment>) -> bool {
        let before = |segment: &Segment, time: Timestamp| {
            segment.begun().is_some_and(|begun| later(begun) < time)
        };
        let after = |segment: &Segment, time: Timestamp| {
            segment.begun().is_some_and(|begun| begun > later(time))
        };
        let own = segment.number > 0;
        self.filter.since.is_some_and(|since| own && next.is_some_and(|next| before(next, since)))
            || self.filter.until.is_some_and(|until| after(segment, until))
    }
}

/// The latest moment of what may still come after it.
fn later(time: Timestamp) -> Timestamp {
    time.checked_add(DISORDER).unwrap_or(Timestamp::MAX)
}

/// Whether a line is JSON: what is none must not be shown as if it were.
fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// A loss concerns whatever is looked for; a story names its processes and units in lists.
fn tells_of_several(line: &[u8]) -> bool {
    const KINDS: [&[u8]; 2] = [b"\"kind\":\"loss\"", b"\"kind\":\"incident\""];
    // It stands in the first few keys.
    let head = &line[..line.len().min(256)];
    KINDS.iter().any(|kind| memchr::memmem::find(head, kind).is_some())
}

/// Opens a segment; `None` when it was removed meanwhile.
fn open(folder: &Folder, segment: &Segment) -> Result<Option<Pieces<Source>>> {
    match reader::open(segment) {
        // It was compressed or removed between the two.
        Err(error) if reader::is_gone(&error) => {
            let again = folder.segments()?.into_iter().find(|s| s.stem == segment.stem);
            again.filter(|again| again.events.is_some()).map(|s| reader::open(&s)).transpose()
        }
        opened => opened.map(Some),
    }
}

/// The time of the last whole line.
fn last_time(piece: &[u8]) -> Option<Timestamp> {
    let whole = piece.strip_suffix(b"\n")?;
    let line = &whole[memchr::memrchr(b'\n', whole).map_or(0, |at| at + 1)..];
    let head = &line[..line.len().min(128)];
    let at = memchr::memmem::find(head, b"\"time\":\"")? + 8;
    let text = &head[at..];
    let end = memchr::memchr(b'"', text)?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

/// Texts of which one stands in each line that matches, as this program writes JSON.
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
