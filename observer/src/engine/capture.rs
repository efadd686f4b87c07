//! Captures: the inputs of a live run in a file, for tests and for reports of faults.
//!
//! A line of text that names the format, the length of a header and the header in JSON; then entries, each a length, a
//! tag and its bytes, in little-endian. Records stay raw: a capture shows what this build makes of what a kernel said, so
//! only programs of the same ABI can read it.
//!
//! An entry `DRAIN` begins a moment. Its clock, symbols and records follow, then counts of refusals, the outcome of a scan and
//! losses: the order of [`Input`].
//!
//! **Bounded:** reading takes as much memory as the file is long.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use bytes::{Buf, Bytes};
use observer_common::header::ABI;
use serde::{Deserialize, Serialize};

use super::Input;
use crate::{kernel::host::Host, model::SessionEvent};

/// First bytes of a file; the number is the format's version.
const MAGIC: &[u8] = b"observer recording 1\n";

/// A moment: nanoseconds since boot. Without records after it, time has passed and nothing came.
const DRAIN: u32 = 1;
/// A record, as it came.
const RECORD: u32 = 2;
/// An address on a kernel stack, and the function it lies in.
const SYMBOL: u32 = 3;
/// A [`crate::kernel::loss::Loss`] in JSON.
const LOSS: u32 = 4;
/// What a scan has found, a [`super::scan::ScanResult`] in JSON; nothing when it failed.
const SCAN: u32 = 5;
/// The time of day was set: nanoseconds of the epoch at boot.
const CLOCK: u32 = 6;

/// Counts of refusals: [`crate::decode::RepeatCount`]s in JSON.
const REPEATS: u32 = 7;

/// What stands for the words of a scan that failed, which a capture does not hold.
const SCAN_FAILED: &str = "the scan failed when this was captured";

/// What a reader must know that the records don't say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Layout of the records (`observer_common::header::ABI`).
    pub abi: u16,
    /// Nanoseconds of the epoch at boot: turns the records' times into times of day.
    pub boot_epoch_ns: i64,
    /// Bytes a page.
    pub page_bytes: u64,
    /// The memory controller is of cgroup v1.
    pub memory_v1: bool,
    /// Memory and swap of the machine.
    pub memory_bytes: u64,
    /// When it began, in nanoseconds since boot.
    pub begin_ns: u64,
    /// Ordinary deaths were wanted; without it those of port holders are in the rings all the same.
    pub exits_all: bool,
    /// What was watched, and how.
    pub session: SessionEvent,
}

impl Header {
    /// The header of a capture that begins now.
    #[must_use]
    pub fn new(host: &Host, boot_epoch_ns: i64, begin_ns: u64, session: SessionEvent) -> Self {
        Self {
            abi: ABI,
            boot_epoch_ns,
            page_bytes: host.page_bytes,
            memory_v1: host.memory_v1,
            memory_bytes: host.memory_bytes,
            begin_ns,
            exits_all: true,
            session,
        }
    }

    /// The machine, as far as events depend on it; a capture doesn't say which one it was.
    #[must_use]
    pub fn host(&self) -> Host {
        Host {
            boot_id: "00000000-0000-0000-0000-000000000000".into(),
            name: "recorded".into(),
            page_bytes: self.page_bytes,
            memory_v1: self.memory_v1,
            memory_bytes: self.memory_bytes,
        }
    }
}

/// A capture, read.
#[derive(Clone, Debug)]
pub struct Capture {
    /// What the inputs don't say.
    pub header: Header,
    /// The inputs in order, each with its moment.
    pub inputs: Vec<(u64, Input)>,
    /// The last entry isn't whole: the capture was cut off at this byte.
    pub cut_at: Option<usize>,
}

/// A file that can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else, or of another version.
    #[error("not a capture of this version of observer")]
    Format,
    /// Its header doesn't hold.
    #[error("a capture with a broken header: {0}")]
    Header(#[from] serde_json::Error),
    /// It was written by other eBPF programs.
    #[error("a capture of ABI {0}; this observer reads ABI {ABI} only")]
    Abi(u16),
}

impl Capture {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::parse(Bytes::from(std::fs::read(path)?))
    }

    /// Parses a file's bytes.
    pub fn parse(bytes: Bytes) -> Result<Self, ReadError> {
        let whole = bytes.len();
        let mut rest = bytes;
        if !rest.starts_with(MAGIC) {
            return Err(ReadError::Format);
        }
        rest.advance(MAGIC.len());
        let len = rest.try_get_u32_le().map_err(|_error| ReadError::Format)? as usize;
        if rest.len() < len {
            return Err(ReadError::Format);
        }
        // The layout of a header may follow the ABI: that is the clearer error.
        let header: serde_json::Value = serde_json::from_slice(&rest.split_to(len))?;
        let abi = header["abi"].as_u64().and_then(|abi| u16::try_from(abi).ok()).unwrap_or(0);
        if abi != ABI {
            return Err(ReadError::Abi(abi));
        }
        let header = serde_json::from_value(header)?;
        let mut parser = Parser::default();
        let mut cut_at = None;
        while !rest.is_empty() {
            let at = whole - rest.len();
            if parser.entry(&mut rest).is_none() {
                cut_at = Some(at);
                break;
            }
        }
        parser.end_drain();
        Ok(Self { header, inputs: parser.inputs, cut_at })
    }
}

/// Gathers entries into inputs.
#[derive(Default)]
struct Parser {
    inputs: Vec<(u64, Input)>,
    now_ns: u64,
    /// What has come of the drain that began last; `None` once it is over.
    drain: Option<OpenDrain>,
}

#[derive(Default)]
struct OpenDrain {
    symbols: Vec<(u64, String)>,
    records: Vec<Bytes>,
}

impl Parser {
    /// Takes one entry off; `None` when it isn't whole, or stands where it can't.
    fn entry(&mut self, rest: &mut Bytes) -> Option<()> {
        let len = rest.try_get_u32_le().ok()? as usize;
        let tag = rest.try_get_u32_le().ok()?;
        if rest.len() < len {
            return None;
        }
        let mut bytes = rest.split_to(len);
        match tag {
            DRAIN => {
                let now_ns = bytes.try_get_u64_le().ok()?;
                self.end_drain();
                self.now_ns = now_ns;
                self.drain = Some(OpenDrain::default());
            }
            CLOCK => {
                let epoch_ns = bytes.try_get_i64_le().ok()?;
                self.drain.as_ref()?;
                self.inputs.push((self.now_ns, Input::Clock(epoch_ns)));
            }
            SYMBOL => {
                let address = bytes.try_get_u64_le().ok()?;
                let name = String::from_utf8_lossy(&bytes).into_owned();
                self.drain.as_mut()?.symbols.push((address, name));
            }
            RECORD => self.drain.as_mut()?.records.push(bytes),
            SCAN => {
                self.end_drain();
                let outcome = if bytes.is_empty() {
                    Err(SCAN_FAILED.to_owned())
                } else {
                    Ok(Box::new(serde_json::from_slice(&bytes).ok()?))
                };
                self.inputs.push((self.now_ns, Input::Scan(outcome)));
            }
            REPEATS => {
                self.end_drain();
                let counts = serde_json::from_slice(&bytes).ok()?;
                self.inputs.push((self.now_ns, Input::Repeats(counts)));
            }
            LOSS => {
                self.end_drain();
                let loss = serde_json::from_slice(&bytes).ok()?;
                self.inputs.push((self.now_ns, Input::Loss(loss)));
            }
            // Of a later observer with the same records: what is known of them still holds.
            _ => {}
        }
        Some(())
    }

    fn end_drain(&mut self) {
        let Some(OpenDrain { symbols, records }) = self.drain.take() else { return };
        if !symbols.is_empty() {
            self.inputs.push((self.now_ns, Input::Symbols(symbols)));
        }
        let drained = if records.is_empty() { Input::Tick } else { Input::Records(records) };
        self.inputs.push((self.now_ns, drained));
    }
}

/// Writes a capture.
pub struct CaptureWriter<W: Write> {
    out: W,
    /// What comes before the records of a moment, whose entry is still to be written.
    clock: Option<i64>,
    symbols: Vec<(u64, String)>,
}

impl CaptureWriter<BufWriter<File>> {
    /// Makes a new file, for root's eyes only: command lines carry secrets.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        Self::begin(BufWriter::new(file), header)
    }
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a capture.
    pub fn begin(mut out: W, header: &Header) -> io::Result<Self> {
        let header = serde_json::to_vec(header)?;
        out.write_all(MAGIC)?;
        out.write_all(&length(header.len())?.to_le_bytes())?;
        out.write_all(&header)?;
        out.flush()?;
        Ok(Self { out, clock: None, symbols: Vec::new() })
    }

    /// An input of a moment. Those of one moment come in the order of [`Input`], records or a tick among them.
    pub fn input(&mut self, now_ns: u64, input: &Input) -> io::Result<()> {
        match input {
            Input::Clock(epoch_ns) => self.clock = Some(*epoch_ns),
            Input::Symbols(symbols) => self.symbols.clone_from(symbols),
            Input::Records(records) => {
                self.drain(now_ns)?;
                records.iter().try_for_each(|record| self.entry(RECORD, &[record]))?;
            }
            Input::Tick => self.drain(now_ns)?,
            Input::Repeats(counts) => self.entry(REPEATS, &[&serde_json::to_vec(counts)?])?,
            Input::Scan(Ok(result)) => self.entry(SCAN, &[&serde_json::to_vec(result)?])?,
            Input::Scan(Err(_)) => self.entry(SCAN, &[])?,
            Input::Loss(loss) => self.entry(LOSS, &[&serde_json::to_vec(loss)?])?,
        }
        Ok(())
    }

    fn drain(&mut self, now_ns: u64) -> io::Result<()> {
        self.entry(DRAIN, &[&now_ns.to_le_bytes()])?;
        if let Some(epoch_ns) = self.clock.take() {
            self.entry(CLOCK, &[&epoch_ns.to_le_bytes()])?;
        }
        for (address, name) in std::mem::take(&mut self.symbols) {
            self.entry(SYMBOL, &[&address.to_le_bytes(), name.as_bytes()])?;
        }
        Ok(())
    }

    /// Hands everything to the file, so that a crash can tear off only what comes later.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn entry(&mut self, tag: u32, parts: &[&[u8]]) -> io::Result<()> {
        let len = length(parts.iter().map(|part| part.len()).sum())?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&tag.to_le_bytes())?;
        parts.iter().try_for_each(|part| self.out.write_all(part))
    }
}

fn length(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
