//! Checks the store against its seals, and names the first event of each fault.
//!
//! **Invariant:** only reads; a service may write to the folder at the same time.

pub(super) mod files;
mod words;

use std::{io, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use files::{Opened, StoredLines, open};
use words::{count, count_of, describe};

use super::{
    Folder, Segment,
    chain::{Hash, Short},
    folder::{self, HEAD},
    reader::lines,
    seal::{self, Head, Previous, Seal, What},
};

/// The result of a check.
#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Segments that were read.
    pub segments: u64,
    /// Events that are as they were sealed.
    pub sealed: u64,
    /// Events at the end that have no seal yet.
    pub unsealed: u64,
    /// The number of the newest segment that was removed for its age or size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<u64>,
    /// The last link of the chain.
    pub chain: String,
    /// What does not hold, in the order of the store.
    pub faults: Vec<Fault>,
    /// Remarks that are not faults.
    pub notes: Vec<String>,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which segment.
    pub segment: String,
    /// Number of the event in its segment, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Its `seq`, or that of the event now in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What is wrong with it.
    pub what: String,
}

/// How often a folder is checked if a service changes it meanwhile.
const TRIES: usize = 5;

/// Checks a folder. A fault found while a service closed or removed segments counts only if the next check finds it too.
pub fn verify(folder: &Folder) -> Result<VerifyReport> {
    for _ in 1..TRIES {
        let before = folder.segments()?;
        let report = check(folder)?;
        if report.faults.is_empty() || folder.segments()? == before {
            return Ok(report);
        }
    }
    check(folder)
}

fn check(folder: &Folder) -> Result<VerifyReport> {
    // Read first: a running service adds seals meanwhile, and never removes any.
    let head = match folder::read(&folder.head()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
        Ok(text) => serde_json::from_slice::<Head>(&text).map(Some).map_err(|e| e.to_string()),
    };
    let segments = folder.segments()?;
    for segment in &segments {
        segment.events.iter().chain([&segment.seals]).try_for_each(|file| may_read(file))?;
    }
    let mut report = VerifyReport::default();
    let mut check =
        Check { folder, report: &mut report, previous: None, links: Vec::new(), gone: Vec::new() };
    for (n, segment) in segments.iter().enumerate() {
        check.missing_before(n.checked_sub(1).map(|n| &segments[n]), segment);
        check.segment(segment, n + 1 == segments.len());
    }
    check.gone();
    check.report.forgive_retired(&segments);
    check.head(head, segments.last());
    let own = segments.iter().find(|segment| segment.number > 0);
    let first = own.map_or(1, |first| first.number);
    if first > 1 && report.retired.is_none_or(|retired| retired.saturating_add(1) < first) {
        let what = format!(
            "segments before number {first} are missing, and were not removed for their age or size"
        );
        report.faults.insert(
            0,
            Fault {
                segment: own.map_or_else(String::new, |own| own.stem.clone()),
                record: None,
                seq: None,
                what,
            },
        );
    }
    Ok(report)
}

/// Fails if this user may not read a file: that is no fault of the store.
fn may_read(file: &Path) -> Result<()> {
    match rustix::fs::access(file, rustix::fs::Access::READ_OK) {
        Err(error @ rustix::io::Errno::ACCESS) => {
            Err(error).with_context(|| format!("can't read {}", file.display()))
        }
        _ => Ok(()),
    }
}

impl VerifyReport {
    /// Drops the faults of half removed segments: the removal is in the seals first, and a crash may leave one of the files.
    fn forgive_retired(&mut self, segments: &[Segment]) {
        let Some(retired) = self.retired else { return };
        let gone = |segment: &&Segment| segment.events.is_none() || !segment.seals.exists();
        let gone = segments.iter().filter(|segment| segment.number <= retired).filter(gone);
        let gone: Vec<&str> = gone.map(|segment| segment.stem.as_str()).collect();
        self.faults.retain(|fault| !gone.contains(&fault.segment.as_str()));
    }
}

struct Check<'a> {
    folder: &'a Folder,
    report: &'a mut VerifyReport,
    previous: Option<Previous>,
    links: Vec<Hash>,
    /// Segments that vanished while the ones before were read.
    gone: Vec<Segment>,
}

impl Check<'_> {
    fn fault(
        &mut self,
        segment: &Segment,
        at: Option<(u64, Option<u64>)>,
        what: impl Into<String>,
    ) {
        let (record, seq) = at.map_or((None, None), |(record, seq)| (Some(record), seq));
        let fault = Fault { segment: segment.stem.clone(), record, seq, what: what.into() };
        self.report.faults.push(fault);
    }

    fn missing_before(&mut self, previous: Option<&Segment>, segment: &Segment) {
        let Some(previous) = previous.filter(|previous| previous.number > 0) else { return };
        match segment.number - previous.number {
            1 => {}
            0 => self.fault(segment, None, "there are two segments with this number"),
            n => self.fault(segment, None, format!("{} before it are missing", count(n - 1))),
        }
    }

    fn segment(&mut self, segment: &Segment, newest: bool) {
        let Some(Opened { segment, seals: text, pieces }) = open(self.folder, segment) else {
            self.gone.push(segment.clone());
            self.previous = None;
            return;
        };
        let segment = &segment;
        self.report.segments += 1;
        let empty = |path: &Path| std::fs::metadata(path).is_ok_and(|meta| meta.len() == 0);
        let unborn = newest && segment.events.as_deref().is_some_and(empty);
        let seals = text.as_ref().ok().and_then(|text| self.seals(segment, text));
        let Some((seals, ended)) = seals else {
            // A crash may leave a new segment without seals; if it had had any, the head would name them.
            if !unborn {
                let what = match &text {
                    Ok(_) => "its file of seals is empty: nothing proves its events".to_owned(),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        "its file of seals is missing: nothing proves its events".to_owned()
                    }
                    Err(error) => format!("its seals can't be read: {error}"),
                };
                self.fault(segment, None, what);
                self.previous = None;
            }
            return;
        };
        let Some(pieces) = pieces else {
            let events: usize = seals.iter().map(|seal| seal.records.len()).sum();
            self.fault(
                segment,
                Some((1, None)),
                format!("the segment is missing: {events} events are gone"),
            );
            return;
        };
        let mut number = 0;
        let open = newest && !ended;
        let checked = pieces.and_then(|pieces| {
            self.events(segment, &seals, StoredLines::new(pieces), open, &mut number)
        });
        if let Err(error) = checked {
            let at = (number > 0).then_some((number, None));
            self.fault(segment, at, format!("{error:#}"));
        }
    }

    /// A segment that vanished is a fault unless the seals say that the service removed it: it writes that into the newest
    /// segment first, which was read last.
    fn gone(&mut self) {
        let retired = self.report.retired.unwrap_or(0);
        for segment in std::mem::take(&mut self.gone) {
            if segment.number > retired {
                self.fault(&segment, None, "it was removed during this check");
            }
        }
    }

    /// Follows the chain through a file of seals; returns the seals that hold, and whether nothing may follow.
    fn seals(&mut self, segment: &Segment, text: &[u8]) -> Option<(Vec<Seal>, bool)> {
        let mut chain = None;
        let (mut seals, mut ended) = (Vec::new(), false);
        for (n, line) in lines(text).enumerate() {
            let at = n + 1;
            let whole = line.ends_with(b"\n");
            let text = std::str::from_utf8(line).unwrap_or_default();
            let parsed = seal::parse(text, chain.unwrap_or_default());
            let Some((entry, claimed, mut has)) = parsed else {
                if whole {
                    self.fault(segment, None, format!("line {at} of its seals is not a seal"));
                    return Some((seals, ended));
                }
                // A running service is writing it, or a crash cut it off: it does not count.
                break;
            };
            if let What::Begin { previous, segment: name } = &entry.what {
                let start = previous.as_ref().map_or_else(Hash::default, |p| p.chain);
                has = seal::parse(text, start).map_or(has, |(.., has)| has);
                if *name != segment.stem || n > 0 {
                    self.fault(segment, None, format!("its seals are those of {name}"));
                }
                if let Some(known) = &self.previous
                    && Some(known) != previous.as_ref()
                {
                    self.fault(segment, None, format!(
                        "its chain does not continue where {} ends: events were cut off there, or forged",
                        known.segment
                    ));
                }
            } else if n == 0 {
                self.fault(segment, None, "the beginning of its seals is missing");
                return Some((seals, ended));
            }
            if claimed != has {
                self.fault(
                    segment,
                    None,
                    format!("line {at} of its seals was changed, or one before it removed"),
                );
                return Some((seals, ended));
            }
            chain = Some(has);
            self.links.push(has);
            match entry.what {
                What::Seal(seal) => {
                    ended = seal.closed || seal.stopped;
                    seals.push(seal);
                }
                What::Resumed => ended = false,
                What::Retired { number } => {
                    self.report.retired = self.report.retired.max(Some(number));
                }
                What::Torn { at, bytes } => self.report.notes.push(format!(
                    "{}: {bytes} bytes of a torn event at byte {at} were set aside after a crash",
                    segment.stem
                )),
                What::Gone { segment: named } => {
                    let what = format!(
                        "the end of the store was cut off before this: the last seal, of {named}, was missing when the \
                         service started again"
                    );
                    self.fault(segment, None, what);
                }
                What::Begin { .. } => {}
            }
        }
        let chain = chain?;
        self.report.chain = chain.to_string();
        self.previous = Some(Previous { segment: segment.stem.clone(), chain });
        Some((seals, ended))
    }

    fn events(
        &mut self,
        segment: &Segment,
        seals: &[Seal],
        mut events: StoredLines,
        open: bool,
        number: &mut u64,
    ) -> Result<()> {
        // Of all seals: a removed event may have had a seal of its own.
        let all: Vec<Short> = seals.iter().flat_map(|seal| seal.records.iter().copied()).collect();
        let mut before = 0;
        for seal in seals {
            if seal.found {
                let found = count_of(seal.records.len() as u64, "event");
                self.report.notes.push(format!(
                    "{}: {found} had no seal when the service started again after a crash",
                    segment.stem
                ));
            }
            let mut hashes = Vec::with_capacity(seal.records.len());
            for expected in &seal.records {
                *number += 1;
                let Some(event) = events.next()? else {
                    let left = seal.records.len() - hashes.len();
                    self.fault(
                        segment,
                        Some((*number, None)),
                        format!(
                            "it is cut off: this event and {} are gone",
                            count_of(left as u64 - 1, "other")
                        ),
                    );
                    return Ok(());
                };
                if event.hash.short() != *expected {
                    let what = describe(&event, &all[before + hashes.len()..], &mut events)?;
                    self.fault(segment, Some((*number, event.seq)), what);
                    return Ok(());
                }
                hashes.push(event.hash);
            }
            if Hash::of_all(&hashes) != seal.sha256 {
                let what = "one of the events before this one was forged: its short hash fits, its whole hash does not";
                self.fault(segment, Some((*number, None)), what);
                return Ok(());
            }
            self.report.sealed += hashes.len() as u64;
            before += hashes.len();
        }
        let mut unsealed = 0;
        while let Some(event) = events.next()? {
            *number += 1;
            unsealed += 1;
            if !open {
                self.fault(segment, Some((*number, event.seq)), "it was added after the last seal");
                return Ok(());
            }
        }
        self.report.unsealed += unsealed;
        Ok(())
    }

    fn head(&mut self, head: Result<Option<Head>, String>, last: Option<&Segment>) {
        let Some(last) = last else {
            if let Ok(Some(head)) = head {
                let what = "all segments are missing".to_owned();
                self.report.faults.push(Fault {
                    segment: head.segment,
                    record: None,
                    seq: None,
                    what,
                });
            }
            return;
        };
        match head {
            Err(error) => {
                self.fault(last, None, format!("{HEAD}, its last seal, is broken: {error}"));
            }
            Ok(None) => self
                .report
                .notes
                .push(format!("{HEAD} is missing: seals at the end may be gone unnoticed")),
            Ok(Some(head)) if self.links.contains(&head.chain) => {}
            // A broken chain is a fault already.
            Ok(Some(_)) if !self.report.faults.is_empty() => {}
            Ok(Some(head)) => {
                let what = format!(
                    "the last seal, of {}, is gone: the end of the store was cut off",
                    head.segment
                );
                self.fault(last, None, what);
            }
        }
    }
}
