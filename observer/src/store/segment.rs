//! The open segment: appends events and seals them.
//!
//! **Invariant:** events reach the disk first, then their seal, then the head.
//!
//! **Bounded:** the hashes of at most about [`SEALED_AT_ONCE`] events wait for a seal.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Folder, Segment,
    chain::Hash,
    seal::{Head, Previous, Seal, Seals, What, Why},
};

/// Limits of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A segment is closed at this size.
    pub segment_bytes: u64,
    /// And at this age.
    pub segment_age: Duration,
    /// The oldest segments are removed while all together have more bytes than this.
    pub keep_bytes: u64,
    /// And when they are older than this.
    pub keep_age: Duration,
    /// Events are sealed after this span at most.
    pub seal_after: Duration,
}

/// Events that wait before they are sealed early.
const SEALED_AT_ONCE: usize = 1024;

/// Room that a probe asks for, in bytes: more than most events need.
const PROBE: u64 = 4096;

/// An open segment.
#[derive(Debug)]
pub struct Current {
    /// Which it is.
    pub segment: Segment,
    file: File,
    /// Its length; bytes after it are of a failed write.
    pub len: u64,
    sealed: u64,
    seals: Seals,
    unsealed: Vec<Hash>,
    /// Some of them were found without a seal.
    found: bool,
    /// When the oldest of them was written.
    pub unsealed_since: Option<Instant>,
    /// Their earliest and latest times; `None`: there are none, or one is not known.
    times: Option<(Timestamp, Timestamp)>,
}

impl Current {
    /// A new segment after `previous`.
    pub fn create(
        folder: &Folder,
        segment: Segment,
        previous: Option<Previous>,
    ) -> io::Result<Self> {
        let path = segment.events.clone().unwrap_or_default();
        let file = folder.open(&path)?;
        file.set_len(0)?;
        let seals = Seals::begin(folder.open(&segment.seals)?, &segment.stem, previous)?;
        folder.sync()?;
        Ok(Self::resume(segment, file, 0, seals))
    }

    /// A segment that is sealed up to its end.
    #[must_use]
    pub fn resume(segment: Segment, file: File, len: u64, seals: Seals) -> Self {
        Self {
            segment,
            file,
            len,
            sealed: len,
            seals,
            unsealed: Vec::new(),
            found: false,
            unsealed_since: None,
            times: None,
        }
    }

    /// Whether its files were removed: whatever is written to them is gone.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0) || self.seals.is_removed()
    }

    /// Appends whole lines, written between these times. After an error none of them counts, and the next ones overwrite them.
    pub fn append(
        &mut self,
        text: &[u8],
        hashes: &[Hash],
        (earliest, latest): (Timestamp, Timestamp),
    ) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(text, self.len) {
            // Cuts off a partial write; if that fails too, the next event overwrites it.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += text.len() as u64;
        if self.unsealed.is_empty() {
            self.times = Some((earliest, latest));
        } else if let Some(times) = &mut self.times {
            *times = (times.0.min(earliest), times.1.max(latest));
        }
        self.unsealed.extend_from_slice(hashes);
        self.unsealed_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Whether the disk has room now.
    pub fn probe(&self) -> io::Result<()> {
        use rustix::{fs::FallocateFlags, io::Errno};
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.len, PROBE) {
            // Not supported by this file system: the next write shows it.
            Err(Errno::OPNOTSUPP) => Ok(()),
            answer => Ok(answer?),
        }
    }

    /// Adopts events that are in the file already.
    pub fn adopt(&mut self, bytes: u64, hashes: &[Hash]) {
        self.len += bytes;
        self.unsealed.extend_from_slice(hashes);
        self.found = true;
        self.times = None;
        self.unsealed_since.get_or_insert_with(Instant::now);
    }

    /// Truncates the file.
    pub fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Whether enough events wait to be sealed early.
    #[must_use]
    pub fn full(&self) -> bool {
        self.unsealed.len() >= SEALED_AT_ONCE
    }

    /// Seals the events that have no seal yet.
    pub fn seal(&mut self, folder: &Folder, why: Why) -> io::Result<()> {
        if self.unsealed.is_empty() && why == Why::Due {
            return Ok(());
        }
        self.file.sync_data()?;
        let seal = Seal {
            from: self.sealed,
            to: self.len,
            records: self.unsealed.iter().map(Hash::short).collect(),
            sha256: Hash::of_all(&self.unsealed),
            earliest: self.times.map(|times| times.0),
            latest: self.times.map(|times| times.1),
            found: self.found,
            closed: why == Why::Closed,
            stopped: why == Why::Stopped,
        };
        self.add_entry(What::Seal(seal))?;
        self.sealed = self.len;
        self.unsealed.clear();
        self.found = false;
        self.unsealed_since = None;
        self.times = None;
        self.head(folder)
    }

    /// Adds a line to the seals.
    pub fn add_entry(&mut self, what: What) -> io::Result<()> {
        self.seals.push(what)
    }

    /// The last link of the chain.
    #[must_use]
    pub fn chain(&self) -> Hash {
        self.seals.chain
    }

    /// Name and last link, for the next segment's first line.
    #[must_use]
    pub fn previous(&self) -> Previous {
        Previous { segment: self.segment.stem.clone(), chain: self.seals.chain }
    }

    fn head(&self, folder: &Folder) -> io::Result<()> {
        let head = Head { segment: self.segment.stem.clone(), chain: self.seals.chain };
        let new = folder.head().with_extension("head.new");
        let file = folder.open(&new)?;
        let mut text = serde_json::to_vec(&head)?;
        text.push(b'\n');
        file.set_len(0)?;
        file.write_all_at(&text, 0)?;
        file.sync_data()?;
        std::fs::rename(new, folder.head())
    }
}
