//! Recordings: what the rings gave, in a file. The second source beside the kernel, for tests and for reports of faults.
//!
//! A line of text that names the format, the length of a header and the header in JSON; then entries, each a length, a
//! tag and its bytes, in little-endian. Records stay raw: a recording shows what this build makes of what a kernel
//! said, and so it can be read only by programs of the same ABI. What isn't in the records but only in the machine that
//! ran them (names of kernel functions, looks at descriptors, losses) has tags of its own.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use bytes::{Buf, Bytes};
use observer_common::header::ABI;
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use crate::{enrich::Host, model::SessionEvent};

/// First bytes of a file; the number is the format's version.
const MAGIC: &[u8] = b"observer recording 1\n";

/// A drain of the rings begins; its moment.
const DRAIN: u32 = 1;
/// A record, as it came.
const RECORD: u32 = 2;
/// An address on a kernel stack, and the function it lies in.
const SYMBOL: u32 = 3;
/// A [`Loss`] in JSON.
const LOSS: u32 = 4;
/// What a look at all descriptors has found, in JSON of the pipeline's; nothing when the look failed.
const LOOK: u32 = 5;

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
    /// The header of a recording that begins now.
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

    /// The machine, as far as events depend on it; a recording doesn't say which one it was.
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

/// What was in the rings at one moment.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    /// Nanoseconds since boot.
    pub now_ns: u64,
    /// The records.
    pub records: Vec<Bytes>,
    /// What looks at all descriptors, over by then, had found: JSON, or nothing where one failed.
    pub looks: Vec<Bytes>,
    /// What was found to be lost then.
    pub losses: Vec<Loss>,
}

/// A recording, read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What the records don't say.
    pub header: Header,
    /// What came, in order.
    pub drains: Vec<Drain>,
    /// Names of kernel functions by the addresses on recorded stacks.
    pub symbols: HashMap<u64, String>,
    /// The last entry isn't whole: the recording was cut off at this byte.
    pub cut_at: Option<usize>,
}

/// A file that can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else, or of another version.
    #[error("not a recording of this version of observer")]
    Format,
    /// Its header doesn't hold.
    #[error("a recording with a broken header: {0}")]
    Header(#[from] serde_json::Error),
    /// It was written by other eBPF programs.
    #[error("a recording of ABI {0}; this observer reads ABI {ABI} only")]
    Abi(u16),
}

impl Recording {
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
        let mut recording =
            Self { header, drains: Vec::new(), symbols: HashMap::new(), cut_at: None };
        while !rest.is_empty() {
            let at = whole - rest.len();
            if recording.entry(&mut rest).is_none() {
                recording.cut_at = Some(at);
                break;
            }
        }
        Ok(recording)
    }

    /// Takes one entry off; `None` when it isn't whole.
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
                self.drains.push(Drain { now_ns, ..Drain::default() });
            }
            RECORD => self.drains.last_mut()?.records.push(bytes),
            SYMBOL => {
                let address = bytes.try_get_u64_le().ok()?;
                self.symbols.insert(address, String::from_utf8_lossy(&bytes).into_owned());
            }
            LOOK => self.drains.last_mut()?.looks.push(bytes),
            LOSS => self.drains.last_mut()?.losses.push(serde_json::from_slice(&bytes).ok()?),
            // Of a later observer with the same records: what is known of them still holds.
            _ => {}
        }
        Some(())
    }
}

/// Writes a recording.
pub struct RecordingWriter<W: Write> {
    out: W,
}

impl RecordingWriter<BufWriter<File>> {
    /// Makes a new file, for root's eyes only: command lines carry secrets.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        Self::begin(BufWriter::new(file), header)
    }
}

impl<W: Write> RecordingWriter<W> {
    /// Begins a recording.
    pub fn begin(mut out: W, header: &Header) -> io::Result<Self> {
        let header = serde_json::to_vec(header)?;
        out.write_all(MAGIC)?;
        out.write_all(&length(header.len())?.to_le_bytes())?;
        out.write_all(&header)?;
        out.flush()?;
        Ok(Self { out })
    }

    /// Begins a drain.
    pub fn drain(&mut self, now_ns: u64) -> io::Result<()> {
        self.entry(DRAIN, &[&now_ns.to_le_bytes()])
    }

    /// A record of the drain that began last.
    pub fn record(&mut self, record: &[u8]) -> io::Result<()> {
        self.entry(RECORD, &[record])
    }

    /// What a look has found that was over in the drain that began last.
    pub fn look(&mut self, json: &[u8]) -> io::Result<()> {
        self.entry(LOOK, &[json])
    }

    /// A loss that was found in the drain that began last.
    pub fn loss(&mut self, loss: &Loss) -> io::Result<()> {
        self.entry(LOSS, &[&serde_json::to_vec(loss)?])
    }

    /// The function that an address lies in.
    pub fn symbol(&mut self, address: u64, name: &str) -> io::Result<()> {
        self.entry(SYMBOL, &[&address.to_le_bytes(), name.as_bytes()])
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
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Header, ReadError, Recording, RecordingWriter};
    use crate::{
        enrich::Host,
        kernel::{clock::Clock, loss::Loss},
        model::{ClockInfo, SessionEvent, Time},
    };

    fn header() -> Header {
        let host = Host {
            boot_id: "b".into(),
            name: "secret".into(),
            page_bytes: 4096,
            memory_v1: false,
            memory_bytes: 1 << 30,
        };
        let session = SessionEvent {
            version: "0".into(),
            kernel: "6.1.0".into(),
            hooks: Vec::new(),
            after: None,
            clock: ClockInfo {
                source: "CLOCK_BOOTTIME".into(),
                boot_time: Time(Clock::fixed(7).time(0)),
            },
        };
        Header::new(&host, 7, 5, session)
    }

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = RecordingWriter::begin(&mut bytes, &header()).expect("written");
        writer.drain(10).expect("written");
        writer.symbol(0xffff_ffff_8100_0000, "out_of_memory").expect("written");
        writer.record(b"one").expect("written");
        writer.record(b"").expect("written");
        writer.drain(20).expect("written");
        writer.loss(&loss()).expect("written");
        writer.look(b"{}").expect("written");
        bytes
    }

    fn loss() -> Loss {
        let reason = "full".to_owned();
        Loss { kind: "exit".into(), count: 3, span_ns: (10, 20), reason, at_most: true }
    }

    #[test]
    fn what_was_written_is_read() {
        let recording = Recording::parse(sample().into()).expect("a recording");
        assert_eq!(recording.cut_at, None);
        assert_eq!(recording.header.host().name.as_ref(), "recorded");
        assert_eq!(recording.header.boot_epoch_ns, 7);
        assert_eq!(recording.symbols[&0xffff_ffff_8100_0000], "out_of_memory");
        let [first, second] = &recording.drains[..] else { panic!("two drains") };
        assert_eq!((first.now_ns, &first.records[..]), (10, &["one".into(), Bytes::new()][..]));
        assert_eq!((second.now_ns, &second.losses[..]), (20, &[loss()][..]));
        assert_eq!((first.looks.len(), &second.looks[..]), (0, &["{}".into()][..]));
    }

    #[test]
    fn a_torn_end_is_set_aside() {
        let mut torn = sample();
        torn.pop();
        let len = torn.len();
        let recording = Recording::parse(torn.into()).expect("a recording");
        assert!(recording.cut_at.is_some_and(|at| at < len));
        assert_eq!(recording.drains.len(), 2);
        assert_eq!(recording.drains[1].looks.len(), 0);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(Recording::parse(Bytes::from_static(b"ELF")), Err(ReadError::Format)));
        let mut bytes = Vec::new();
        let header = Header { abi: 999, ..header() };
        RecordingWriter::begin(&mut bytes, &header).expect("written");
        assert!(matches!(Recording::parse(bytes.into()), Err(ReadError::Abi(999))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..256), keep in 0usize..600) {
            let mut bytes = sample();
            bytes.truncate(keep);
            bytes.extend(tail);
            let _ = Recording::parse(bytes.into());
        }
    }
}
