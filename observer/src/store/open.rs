//! Opens the folder for a new run: sets a torn event aside, seals the unsealed, and resumes the newest segment.
//!
//! **Invariant:** never changes sealed bytes, and never guesses a torn event.
//!
//! **Bounded:** reads at most [`MAX_UNSEALED`] unsealed bytes, and, for the last event of a plain segment, [`TAIL`] bytes. Where
//! that does not find it, and in a compressed segment, it reads from the beginning, piece by piece.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    Folder, Segment,
    chain::Hash,
    folder,
    gap::is_full,
    keeper,
    reader::{self, lines},
    seal::{self, Head, Previous, Seals, What, Why},
    segment::Current,
};
use crate::model::LINE_MAX;
use anyhow::{Context, Result};
use jiff::Timestamp;

/// The state of a folder.
#[derive(Debug, Default)]
pub struct OpenFolder {
    /// The newest segment, if it can be resumed.
    pub current: Option<Current>,
    /// The end of the chain, for a new segment.
    pub previous: Option<Previous>,
    /// The newest segment, whether it can be resumed or not.
    pub newest: Option<Segment>,
    /// The last event.
    pub last: Option<Last>,
    /// The last run was stopped in order.
    pub clean: bool,
    /// Name of the segment whose last seal is gone, though the head names it: the new run has to write that down.
    pub gone: Option<String>,
    /// Bytes of a torn event that were set aside.
    pub torn: u64,
    /// These bytes, if the disk had no room to set them aside yet.
    pub aside: Option<Vec<u8>>,
    /// Why the newest segment can't be resumed.
    pub not_resumed: Option<String>,
}

pub use super::reader::Last;

/// Opens the newest segment, sets a torn event aside, and seals the events that have no seal.
pub fn open(folder: &Folder) -> Result<OpenFolder> {
    let mut segments = folder.own_segments()?;
    while let Some(unused) = segments.pop_if(|newest| is_unused(folder, newest)) {
        keeper::remove(folder, &[unused]);
    }
    let mut found = OpenFolder { newest: segments.last().cloned(), ..OpenFolder::default() };
    found.last = last_of_all(&segments);
    let head = read_head(folder);
    let Some(newest) = &found.newest.clone() else {
        found.gone = head.map(|head| head.segment);
        return Ok(found);
    };
    let state = SegmentState::read(&newest.seals);
    found.gone = head.filter(|head| !is_there(&segments, &state, head)).map(|h| h.segment);
    found.clean = state.end == SegmentEnd::Stopped;
    if state.begun {
        found.previous = Some(Previous { segment: newest.stem.clone(), chain: state.chain });
    }
    match &newest.events {
        Some(path) if !newest.compressed && state.end != SegmentEnd::Closed => {
            let resumed = resume(folder, newest, path, &state, &mut found);
            match resumed.with_context(|| format!("can't resume {}", path.display()))? {
                Ok(mut current) => {
                    if let Some(segment) = found.gone.take()
                        && let Err(error) =
                            current.0.add_entry(What::Gone { segment: segment.clone() })
                    {
                        tracing::warn!(
                            "the end of {segment} was cut off, and that can't be written to the seals: {error}"
                        );
                    }
                    found.clean &= current.1 == 0 && found.torn == 0;
                    found.last = last_event(newest)?.or(found.last);
                    found.previous = Some(current.0.previous());
                    found.current = Some(current.0);
                }
                Err(why) => found.not_resumed = Some(why),
            }
        }
        _ => {}
    }
    Ok(found)
}

/// Whether a crash left this segment before its first event and its first seal.
fn is_unused(folder: &Folder, segment: &Segment) -> bool {
    let empty = |path: &Path| std::fs::metadata(path).is_ok_and(|meta| meta.len() == 0);
    segment.events.as_deref().is_some_and(empty)
        && !SegmentState::read(&segment.seals).begun
        && read_head(folder).is_none_or(|head| head.segment != segment.stem)
}

/// Whether the seal that the head names exists: in the newest segment, in the link that it starts from, or, after a crash
/// before the newest segment's first seal, in the segment that the head names.
fn is_there(segments: &[Segment], newest: &SegmentState, head: &Head) -> bool {
    let has = |segment: &Segment| SegmentState::read(&segment.seals).links.contains(&head.chain);
    newest.links.contains(&head.chain)
        || segments.iter().rev().any(|segment| segment.stem == head.segment && has(segment))
}

fn read_head(folder: &Folder) -> Option<Head> {
    serde_json::from_slice(&folder::read(&folder.head()).ok()?).ok()
}

/// The state of a segment by its seals, up to the first line that does not hold.
struct SegmentState {
    begun: bool,
    chain: Hash,
    /// All links: the head names the last one or, after a crash, an earlier one.
    links: Vec<Hash>,
    len: u64,
    sealed: u64,
    end: SegmentEnd,
    whole: bool,
}

/// How a segment ends, by its last seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SegmentEnd {
    Open,
    Closed,
    Stopped,
}

impl SegmentState {
    fn read(path: &Path) -> Self {
        let text = folder::read(path).unwrap_or_default();
        let mut state = Self {
            begun: false,
            chain: Hash::default(),
            links: Vec::new(),
            len: 0,
            sealed: 0,
            end: SegmentEnd::Open,
            whole: true,
        };
        for line in lines(&text) {
            // A torn last line does not count: its seal is written again.
            let Some(text) = std::str::from_utf8(line).ok().filter(|line| line.ends_with('\n'))
            else {
                break;
            };
            let Some((entry, claimed, has)) = seal::parse(text, state.chain) else {
                state.whole = false;
                break;
            };
            match entry.what {
                What::Begin { previous, .. } if !state.begun => {
                    // The first link starts from the last one of the segment before.
                    let start = previous.map_or_else(Hash::default, |previous| previous.chain);
                    state.links.push(start);
                    let again = seal::parse(text, start);
                    state.begun = true;
                    state.whole = again.is_some_and(|(_, claimed, has)| claimed == has);
                }
                _ if claimed != has => state.whole = false,
                What::Seal(seal) => {
                    state.sealed = seal.to;
                    state.end = match (seal.closed, seal.stopped) {
                        (true, _) => SegmentEnd::Closed,
                        (_, true) => SegmentEnd::Stopped,
                        _ => SegmentEnd::Open,
                    };
                }
                What::Resumed => state.end = SegmentEnd::Open,
                What::Begin { .. }
                | What::Retired { .. }
                | What::Torn { .. }
                | What::Gone { .. } => {}
            }
            if !state.whole {
                break;
            }
            state.chain = claimed;
            state.links.push(claimed);
            state.len += line.len() as u64;
        }
        state
    }
}

/// Most unsealed bytes that are read, into memory: a service seals within seconds, and never leaves more.
const MAX_UNSEALED: u64 = 1 << 30;

/// Resumes a segment: it, and how many unsealed events it had; or why it can't be resumed.
fn resume(
    folder: &Folder,
    segment: &Segment,
    path: &Path,
    state: &SegmentState,
    found: &mut OpenFolder,
) -> Result<Result<(Current, usize), String>> {
    if !state.begun || !state.whole {
        return Ok(Err("its seals do not hold".to_owned()));
    }
    let file = folder.open(path)?;
    let len = file.metadata()?.len();
    if len < state.sealed {
        return Ok(Err("it is shorter than what was sealed".to_owned()));
    }
    if len - state.sealed > MAX_UNSEALED {
        return Ok(Err("it has more unsealed bytes than a run could have left".to_owned()));
    }
    let mut rest = vec![0; usize::try_from(len - state.sealed)?];
    file.read_exact_at(&mut rest, state.sealed)?;
    let whole = whole_events(&rest);
    let (events, aside) = rest.split_at(whole);
    let seals_file = folder.open(&segment.seals)?;
    seals_file.set_len(state.len)?;
    let seals = Seals::resume(seals_file, state.len, state.chain);
    let mut current = Current::resume(segment.clone(), file, state.sealed, seals);
    if !aside.is_empty() {
        found.torn = aside.len() as u64;
        match set_aside(folder, &mut current, aside, state.sealed + whole as u64) {
            // The writer does it when there is room, before it writes anything else.
            Err(error) if is_full(&error) => found.aside = Some(aside.to_vec()),
            done => done?,
        }
    }
    if state.end == SegmentEnd::Stopped
        && let Err(error) = current.add_entry(What::Resumed)
    {
        // A full disk: a new segment follows when there is room.
        return Ok(Err(format!("its seals can't be continued: {error}")));
    }
    let hashes: Vec<Hash> = lines(events).map(Hash::of).collect();
    if !hashes.is_empty() {
        current.adopt(whole as u64, &hashes);
        if let Err(error) = current.seal(folder, Why::Due) {
            // A full disk: the next seal covers them too.
            tracing::warn!(
                "can't seal the events that had no seal: {error}; the next seal covers them"
            );
        }
    }
    Ok(Ok((current, hashes.len())))
}

/// How many bytes of the text are whole events. A power cut may leave zeros in place of an event.
fn whole_events(text: &[u8]) -> usize {
    let is_event = |line: &&[u8]| {
        line.ends_with(b"\n") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
    };
    lines(text).take_while(is_event).map(<[u8]>::len).sum()
}

/// Moves the end of a segment, from `at` on, to a `.torn` file. After an error it can be called again.
pub(super) fn set_aside(
    folder: &Folder,
    current: &mut Current,
    bytes: &[u8],
    at: u64,
) -> io::Result<()> {
    let file = folder.open(&current.segment.torn)?;
    let end = file.metadata()?.len();
    let written = file.write_all_at(bytes, end).and_then(|()| file.sync_data());
    let said = written
        .and_then(|()| current.add_entry(What::Torn { at, bytes: bytes.len() as u64 }))
        .inspect_err(|_error| drop(file.set_len(end)));
    said.and_then(|()| current.cut(at))
}

/// The last event. Where the newest segments can't be read, as many numbers are left out as they may have: none is used twice.
fn last_of_all(segments: &[Segment]) -> Option<Last> {
    let mut left_out = 0;
    for segment in segments.iter().rev() {
        match last_event(segment) {
            Ok(Some(last)) => return Some(Last { seq: last.seq.saturating_add(left_out), ..last }),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("can't find the last event of {}: {error:#}", segment.stem);
                left_out = left_out.saturating_add(most_events(segment));
            }
        }
    }
    let time = Timestamp::UNIX_EPOCH;
    (left_out > 0).then_some(Last { seq: left_out, time })
}

/// How many events a segment can have: what its seals count, or what has room in it.
fn most_events(segment: &Segment) -> u64 {
    /// No event is shorter.
    const SHORTEST: u64 = 64;
    let text = folder::read(&segment.seals).unwrap_or_default();
    let sealed = lines(&text).filter_map(|line| serde_json::from_slice::<seal::Entry>(line).ok());
    let sealed: usize = sealed
        .map(|entry| if let What::Seal(seal) = entry.what { seal.records.len() } else { 0 })
        .sum();
    let len = segment.events.as_ref().and_then(|path| std::fs::metadata(path).ok());
    (sealed as u64).max(len.map_or(0, |meta| meta.len() / SHORTEST))
}

/// The last whole event of a segment.
fn last_event(segment: &Segment) -> Result<Option<Last>> {
    let Some(path) = &segment.events else { return Ok(None) };
    if !segment.compressed {
        return Ok(last_of_plain(path, SegmentState::read(&segment.seals).sealed)?);
    }
    Ok(last_of_pieces(&mut reader::open(segment)?)?)
}

/// Bytes at the end of a plain segment that are searched for the last event first: four of the longest.
const TAIL: u64 = 4 * LINE_MAX as u64;

/// The last whole event of a plain segment: at its end or, if somebody appended garbage, where its seals end.
fn last_of_plain(path: &Path, sealed: u64) -> io::Result<Option<Last>> {
    let file = folder::open_to_read(path)?;
    let len = file.metadata()?.len();
    let sealed = sealed.min(len);
    if let Some(last) = last_before(&file, len)? {
        return Ok(Some(last));
    }
    // Older versions wrote longer lines. More than a run leaves without a seal is none of its.
    if len - sealed <= MAX_UNSEALED {
        let mut rest = folder::open_to_read(path)?;
        rest.seek(io::SeekFrom::Start(sealed))?;
        if let Some(last) = last_of_pieces(&mut reader::Pieces::new(rest))? {
            return Ok(Some(last));
        }
    }
    match last_before(&file, sealed)? {
        Some(last) => Ok(Some(last)),
        None => last_of_pieces(&mut reader::Pieces::new(file.take(sealed))),
    }
}

/// The last event among the [`TAIL`] bytes before `end`.
fn last_before(file: &File, end: u64) -> io::Result<Option<Last>> {
    let from = end.saturating_sub(TAIL);
    let mut text = vec![0; usize::try_from(end - from).unwrap_or(0)];
    file.read_exact_at(&mut text, from)?;
    // The first line may be incomplete.
    let cut = memchr::memchr(b'\n', &text).map_or(text.len(), |at| at + 1);
    Ok(last_of(&text[if from == 0 { 0 } else { cut }..]))
}

fn last_of_pieces(pieces: &mut reader::Pieces<impl io::Read>) -> io::Result<Option<Last>> {
    let mut last = None;
    loop {
        let piece = pieces.next_piece()?;
        if piece.is_empty() {
            return Ok(last);
        }
        last = last_of(piece).or(last);
    }
}

fn last_of(text: &[u8]) -> Option<Last> {
    let lines: Vec<&[u8]> = lines(text).collect();
    lines.iter().rev().find_map(|line| {
        let last: Option<Last> = serde_json::from_slice(line).ok();
        // A line that is too long comes in pieces, and has its number all the same.
        let last = last.or_else(|| (line.len() > LINE_MAX).then(|| reader::head(line))?);
        // Numbers continue after it, so an impossible one does not count.
        last.filter(|last| last.seq < 1 << 53)
    })
}
