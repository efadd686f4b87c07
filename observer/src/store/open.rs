//! What a service finds when it begins: goes on where the last one ended, however that came.

use std::{io, os::unix::fs::FileExt, path::Path};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

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

/// What was found in a folder.
#[derive(Debug, Default)]
pub struct OpenFolder {
    /// The newest segment, if it can be gone on with.
    pub current: Option<Current>,
    /// The end of the chain, for a new segment.
    pub previous: Option<Previous>,
    /// The newest segment, whether it can be gone on with or not.
    pub newest: Option<Segment>,
    /// The last record.
    pub last: Option<Last>,
    /// The last service was stopped in order.
    pub clean: bool,
    /// Name of the segment whose last seal is gone, though the head names it: the new run has to keep that in mind.
    pub gone: Option<String>,
    /// Bytes of a torn record that were set aside.
    pub torn: u64,
    /// These bytes, as long as there is no room to set them aside.
    pub aside: Option<Vec<u8>>,
    /// Why the newest segment is left as it is.
    pub left: Option<String>,
}

/// What a new run must know of the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Last {
    /// Its number.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
}

/// Looks at the newest segment, sets a torn record aside, and seals what was not sealed.
pub fn open(folder: &Folder) -> Result<OpenFolder> {
    let mut segments = folder.own_segments()?;
    while let Some(unborn) = segments.pop_if(|newest| is_unborn(folder, newest)) {
        keeper::remove(folder, &[unborn]);
    }
    let mut found = OpenFolder { newest: segments.last().cloned(), ..OpenFolder::default() };
    found.last = segments.iter().rev().find_map(|segment| last_record(segment).ok().flatten());
    let head = read_head(folder);
    let Some(newest) = &found.newest.clone() else {
        found.gone = head.map(|head| head.segment);
        return Ok(found);
    };
    let state = SegmentState::read(&newest.seals);
    found.gone = head.filter(|head| !is_there(&segments, &state, head)).map(|h| h.segment);
    found.clean = state.end == TornEnd::Stopped;
    if state.begun {
        found.previous = Some(Previous { segment: newest.stem.clone(), chain: state.chain });
    }
    match &newest.events {
        Some(path) if !newest.compressed && state.end != TornEnd::Closed => {
            let resumed = resume(folder, newest, path, &state, &mut found);
            match resumed.with_context(|| format!("can't go on with {}", path.display()))? {
                Ok(mut current) => {
                    if let Some(segment) = found.gone.take()
                        && let Err(error) = current.0.say(What::Gone { segment: segment.clone() })
                    {
                        tracing::warn!(
                            "the end of {segment} is gone, which can't be noted: {error}"
                        );
                    }
                    found.clean &= current.1 == 0 && found.torn == 0;
                    found.last = last_record(newest)?.or(found.last);
                    found.previous = Some(current.0.previous());
                    found.current = Some(current.0);
                }
                Err(why) => found.left = Some(why),
            }
        }
        _ => {}
    }
    Ok(found)
}

/// A segment that a crash left behind before its first seal: nothing was written to it, and nothing was said of it.
fn is_unborn(folder: &Folder, segment: &Segment) -> bool {
    let empty = |path: &Path| std::fs::metadata(path).is_ok_and(|meta| meta.len() == 0);
    segment.events.as_deref().is_some_and(empty)
        && !SegmentState::read(&segment.seals).begun
        && read_head(folder).is_none_or(|head| head.segment != segment.stem)
}

/// Whether the seal that the head names is there: in the newest segment, in the one that it goes on from, or, when a
/// crash came before the newest one's first seal, in that of its name.
fn is_there(segments: &[Segment], newest: &SegmentState, head: &Head) -> bool {
    let has = |segment: &Segment| SegmentState::read(&segment.seals).links.contains(&head.chain);
    newest.links.contains(&head.chain)
        || segments.iter().rev().any(|segment| segment.stem == head.segment && has(segment))
}

fn read_head(folder: &Folder) -> Option<Head> {
    serde_json::from_slice(&folder::read(&folder.head()).ok()?).ok()
}

/// What a file of seals says up to the first line that does not hold.
struct SegmentState {
    begun: bool,
    chain: Hash,
    /// All of them: the head names the last one, or one before when a crash came between.
    links: Vec<Hash>,
    len: u64,
    sealed: u64,
    end: TornEnd,
    whole: bool,
}

/// How a segment ends, by its last seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TornEnd {
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
            end: TornEnd::Open,
            whole: true,
        };
        for line in lines(&text) {
            // A torn last line was never the end of anything: the seal is made anew.
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
                    // The first link stands on that of the segment before.
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
                        (true, _) => TornEnd::Closed,
                        (_, true) => TornEnd::Stopped,
                        _ => TornEnd::Open,
                    };
                }
                What::Resumed => state.end = TornEnd::Open,
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

/// What comes in seconds: more was not written by a service. It is held in memory.
const UNSEALED: u64 = 1 << 30;

/// The segment, ready to be gone on with, and how many records were found unsealed; or why it is better left alone.
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
    if len - state.sealed > UNSEALED {
        return Ok(Err("more of it is unsealed than a run could have left".to_owned()));
    }
    let mut rest = vec![0; usize::try_from(len - state.sealed)?];
    file.read_exact_at(&mut rest, state.sealed)?;
    let whole = whole_records(&rest);
    let (records, aside) = rest.split_at(whole);
    let seals_file = folder.open(&segment.seals)?;
    seals_file.set_len(state.len)?;
    let seals = Seals::resume(seals_file, state.len, state.chain);
    let mut current = Current::resume(segment.clone(), file, state.sealed, seals);
    if !aside.is_empty() {
        found.torn = aside.len() as u64;
        match set_aside(folder, &mut current, aside, state.sealed + whole as u64) {
            // Done when there is room, and nothing is written before.
            Err(error) if is_full(&error) => found.aside = Some(aside.to_vec()),
            done => done?,
        }
    }
    if state.end == TornEnd::Stopped
        && let Err(error) = current.say(What::Resumed)
    {
        // A full disk: a new segment follows when there is room.
        return Ok(Err(format!("its seals can't be gone on with: {error}")));
    }
    let hashes: Vec<Hash> = lines(records).map(Hash::of).collect();
    if !hashes.is_empty() {
        current.adopt(whole as u64, &hashes);
        if let Err(error) = current.seal(folder, Why::Due) {
            // A full disk: it is tried again with the next seal.
            tracing::warn!("what was found without a seal could not be sealed: {error}");
        }
    }
    Ok(Ok((current, hashes.len())))
}

/// How many bytes of the text are whole records. A power cut may leave zeros where a record should be.
fn whole_records(text: &[u8]) -> usize {
    let is_record = |line: &&[u8]| {
        line.ends_with(b"\n") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
    };
    lines(text).take_while(is_record).map(<[u8]>::len).sum()
}

/// Moves the end of a segment, from `at` on, to a file for what is torn; done in part, it is done again.
pub(super) fn set_aside(
    folder: &Folder,
    current: &mut Current,
    bytes: &[u8],
    at: u64,
) -> io::Result<()> {
    let file = folder.open(&folder.path().join(format!("{}.torn", current.segment.stem)))?;
    let end = file.metadata()?.len();
    let written = file.write_all_at(bytes, end).and_then(|()| file.sync_data());
    let said = written
        .and_then(|()| current.say(What::Torn { at, bytes: bytes.len() as u64 }))
        .inspect_err(|_error| drop(file.set_len(end)));
    said.and_then(|()| current.cut(at))
}

/// The last whole record of a segment.
fn last_record(segment: &Segment) -> Result<Option<Last>> {
    let Some(path) = &segment.events else { return Ok(None) };
    if !segment.compressed {
        return Ok(last_of_plain(path, SegmentState::read(&segment.seals).sealed)?);
    }
    let mut pieces = reader::open(segment)?;
    let mut last = None;
    loop {
        let piece = pieces.next_piece()?;
        if piece.is_empty() {
            return Ok(last);
        }
        last = last_of(piece).or(last);
    }
}

/// Of the end of a plain segment so much is searched, and then so much: no record is longer.
const TAILS: [u64; 2] = [1 << 20, 32 << 20];

/// The last whole record of a plain segment: at its end, or, when somebody made it longer, where its seals end.
fn last_of_plain(path: &Path, sealed: u64) -> io::Result<Option<Last>> {
    let file = folder::open_to_read(path)?;
    let len = file.metadata()?.len();
    for end in [len, sealed.min(len)] {
        for tail in TAILS {
            let from = end.saturating_sub(tail);
            let mut text = vec![0; usize::try_from(end - from).unwrap_or(0)];
            file.read_exact_at(&mut text, from)?;
            // The first line may have begun before.
            let cut = memchr::memchr(b'\n', &text).map_or(text.len(), |at| at + 1);
            let last = last_of(&text[if from == 0 { 0 } else { cut }..]);
            if last.is_some() {
                return Ok(last);
            }
        }
    }
    Ok(None)
}

fn last_of(text: &[u8]) -> Option<Last> {
    let lines: Vec<&[u8]> = lines(text).collect();
    lines.iter().rev().find_map(|line| {
        let last: Option<Last> = serde_json::from_slice(line).ok();
        // Numbers go on after it: one that no record could have is none.
        last.filter(|last| last.seq < 1 << 53)
    })
}
