//! The file of seals: one line for each short interval of events, each chained to the one before.
//!
//! **Invariant:** the JSON keys are the public format (`docs/forensics.md`); files of schema 1 must stay readable.

use std::{fs::File, io, os::unix::fs::FileExt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::{Hash, Short};

/// One line, without its link of the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When it was written.
    pub time: Timestamp,
    /// Its content.
    #[serde(flatten)]
    pub what: What,
}

/// The content of a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum What {
    /// First line: the segment, and the one before it.
    Begin {
        /// Name of the segment, without ending.
        segment: String,
        /// The segment before; `None` for the first of a folder.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Previous>,
    },
    /// The hashes of an interval of events.
    Seal(Seal),
    /// Segments up to this number were removed, for the limits of size and age.
    Retired {
        /// The number of the newest one that was removed.
        number: u64,
    },
    /// The last seal before this run was missing when it began: the end of the store, in this segment, was cut off.
    Gone {
        /// Name of the segment that it belonged to, without ending.
        segment: String,
    },
    /// Another run resumed a segment that ended with a stop: events without a seal may follow.
    Resumed,
    /// Bytes of an incomplete event were moved to a `.torn` file.
    Torn {
        /// Where they began.
        at: u64,
        /// How many.
        bytes: u64,
    },
}

/// The end of the segment before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its name, without ending.
    pub segment: String,
    /// Its last link of the chain.
    pub chain: Hash,
}

/// A sealed interval of events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seal {
    /// Where it begins in the segment, in bytes.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// The first 8 bytes of the SHA-256 of each event's line, its line end included.
    pub records: Vec<Short>,
    /// SHA-256 of all events' SHA-256, one after the other.
    pub sha256: Hash,
    /// The earliest time of these events, where it is known: a clock may have been set while they were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest: Option<Timestamp>,
    /// The latest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
    /// The events had no seal when the service began, after a crash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
    /// The segment is closed: nothing follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The service was stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// Why an interval is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its time was up.
    Due,
    /// The segment is closed.
    Closed,
    /// The service stops.
    Stopped,
}

/// The file that names the last seal: without it, a newest segment could be removed with its seals and nobody would notice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Name of the newest segment, without ending.
    pub segment: String,
    /// The last link of the chain.
    pub chain: Hash,
}

const LINK: &str = ",\"chain\":\"";

/// A line of a file of seals, and the chain's next link.
pub fn line(entry: &Entry, chain: Hash) -> serde_json::Result<(String, Hash)> {
    let mut text = serde_json::to_string(entry)?;
    let chain = chain.then(text.as_bytes());
    // Inside the object, so that the line is JSON; the link covers the text without itself.
    text.pop();
    text.push_str(&format!("{LINK}{chain}\"}}\n"));
    Ok((text, chain))
}

/// Parses a line: its entry, the link it claims, and the link it really has.
#[must_use]
pub fn parse(text: &str, chain: Hash) -> Option<(Entry, Hash, Hash)> {
    let (body, link) = text.trim_end_matches('\n').rsplit_once(LINK)?;
    let claimed = crate::model::unhex(link.strip_suffix("\"}")?)?;
    let body = format!("{body}}}");
    let entry = serde_json::from_str(&body).ok()?;
    Some((entry, Hash(claimed.try_into().ok()?), chain.then(body.as_bytes())))
}

/// A file of seals, open for writing.
#[derive(Debug)]
pub struct Seals {
    file: File,
    len: u64,
    /// The last link.
    pub chain: Hash,
}

impl Seals {
    /// A new file, whose first line names the segment before.
    pub fn begin(file: File, segment: &str, previous: Option<Previous>) -> io::Result<Self> {
        file.set_len(0)?;
        let chain = previous.as_ref().map_or_else(Hash::default, |previous| previous.chain);
        let mut seals = Self { file, len: 0, chain };
        seals.push(What::Begin { segment: segment.to_owned(), previous })?;
        Ok(seals)
    }

    /// A file whose first `len` bytes are valid.
    #[must_use]
    pub fn resume(file: File, len: u64, chain: Hash) -> Self {
        Self { file, len, chain }
    }

    /// Whether the file was removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// Adds a line, and waits until the disk has it. After an error, the next line overwrites it.
    pub fn push(&mut self, what: What) -> io::Result<()> {
        let (text, chain) = line(&Entry { time: Timestamp::now(), what }, self.chain)?;
        let written = self.file.write_all_at(text.as_bytes(), self.len);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += text.len() as u64;
        self.chain = chain;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, What, line, parse};
    use crate::store::chain::Hash;

    #[test]
    fn a_changed_line_has_another_link() {
        let entry = Entry { time: jiff::Timestamp::UNIX_EPOCH, what: What::Retired { number: 7 } };
        let (text, chain) = line(&entry, Hash::default()).expect("JSON");
        let (_, claimed, has) = parse(&text, Hash::default()).expect("a line");
        assert_eq!((claimed, has), (chain, chain));
        let changed = text.replace("\"number\":7", "\"number\":8");
        let (_, claimed, has) = parse(&changed, Hash::default()).expect("a line");
        assert_ne!(claimed, has);
        let (_, claimed, has) = parse(&text, Hash::of(b"another past")).expect("a line");
        assert_ne!(claimed, has);
    }
}
