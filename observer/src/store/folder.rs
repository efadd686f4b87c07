//! The store's folder: names, order, ownership, and the lock that keeps a second service out.
//!
//! **Invariant:** [`Folder::open`], [`open_to_read`] and [`read`] open regular files only; a symbolic link as the last part of
//! the path is refused.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use jiff::{Timestamp, tz::TimeZone};
use procfs::LockType;
use rustix::fs::{FlockOperation, Gid, Mode, flock};

use crate::error::Failure;

/// Format of a segment's start in UTC, the end of its name.
const BEGUN: &str = "%Y%m%dT%H%M%SZ";
/// Beginning of every segment's name.
const PREFIX: &str = "observer-";
/// Ending of a segment that is written.
pub const PLAIN: &str = "jsonl";
/// Ending of a compressed segment.
pub const COMPRESSED: &str = "jsonl.zst";
/// Ending of a file of seals.
pub const SEALS: &str = "seals";
/// The file that names the last seal.
pub const HEAD: &str = "observer.head";
/// The file that a service locks.
const LOCK: &str = "observer.lock";
/// Ending of a file of torn events.
const TORN: &str = "torn";

/// Highest number of a segment: a file with a higher one is not the store's, and could overflow the count.
const HIGHEST: u64 = 1 << 53;

/// A folder of event files.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    group: Option<u32>,
}

/// One segment: a file of events. Numbers grow by one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Its number, from 1; 0 for a file of events with a name that no service gave it.
    pub number: u64,
    /// Its name without an ending.
    pub stem: String,
    /// The file with the events; `None` if only seals are left.
    pub events: Option<PathBuf>,
    /// Closed and compressed.
    pub compressed: bool,
    /// Path of the seals, whether the file exists or not.
    pub seals: PathBuf,
    /// Path of the torn events that were set aside, whether the file exists or not.
    pub torn: PathBuf,
}

impl Segment {
    /// When it began, by its name.
    #[must_use]
    pub fn begun(&self) -> Option<Timestamp> {
        let (_, at) = self.stem.rsplit_once('-')?;
        let at = jiff::civil::DateTime::strptime(BEGUN, at).ok()?;
        Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }
}

impl Folder {
    /// The folder at a path, whether it exists or not.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), group: None }
    }

    /// The folder of a store that has events. Fails for one that has none, with the same message in every command.
    pub fn with_events(path: &Path) -> Result<Self> {
        let folder = Self::at(path);
        if folder.segments()?.is_empty() {
            let path = path.display();
            bail!(
                "no events are stored in {path}: is the service running? --dir names another folder"
            );
        }
        Ok(folder)
    }

    /// Creates the folder if it is missing (0750). New files in it will belong to `group`, if there is one.
    pub fn create(path: &Path, group: Option<u32>) -> Result<Self> {
        let folder = Self { path: path.to_owned(), group };
        folder.make()?;
        Ok(folder)
    }

    /// Creates it if it is missing.
    pub fn make(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o750);
        let made = !self.path.exists();
        builder.create(&self.path).with_context(|| {
            format!("can't make the folder {}: name another one with --dir", self.path.display())
        })?;
        if made {
            self.give(&File::open(&self.path)?);
        }
        Ok(())
    }

    /// Device and inode number of the folder that is there now.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        fs::metadata(&self.path).map(|meta| (meta.dev(), meta.ino()))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks out other services while the returned file is open. The kernel drops the lock when this process ends in any way.
    /// The file is for root alone (0600): whoever can open a file can lock it, and the folder is open to its group.
    pub fn lock(&self) -> Result<File> {
        let path = self.path.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = match regular(&mut options, &path) {
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && !rustix::process::geteuid().is_root() =>
            {
                let text = format!("not permitted to write to {}: be root", path.display());
                return Err(Failure::Unsupported(text).into());
            }
            file => file.with_context(|| {
                let path = self.path.display();
                format!("can't create files in {path}: name another folder with --dir")
            })?,
        };
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600))
            .with_context(|| format!("can't keep others out of {}", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(
                "another observer stores events in {} already: stop it, or name another folder with --dir",
                self.path.display()
            ),
            Err(error) => Err(error).with_context(|| format!("can't lock {}", self.path.display())),
        }
    }

    /// Whether a service writes to this folder now, by the kernel's list of locks. False if the list can't be read: then the
    /// store ends with its last event.
    #[must_use]
    pub fn is_written(&self) -> bool {
        let lock = fs::metadata(self.path.join(LOCK));
        let (Ok(meta), Ok(locks)) = (lock, procfs::locks()) else { return false };
        let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
        locks.iter().any(|lock| {
            (lock.devmaj, lock.devmin, lock.inode) == (major, minor, meta.ino())
                && matches!(lock.lock_type, LockType::FLock)
        })
    }

    /// Segments that a service wrote, oldest first.
    pub fn own_segments(&self) -> Result<Vec<Segment>> {
        let mut segments = self.segments()?;
        segments.retain(|segment| segment.number > 0);
        Ok(segments)
    }

    /// All segments, oldest first; before them, by name, event files that no service named. If a segment exists plain and
    /// compressed, the compressed file is complete.
    pub fn segments(&self) -> Result<Vec<Segment>> {
        let names = fs::read_dir(&self.path);
        if let Err(error) = &names
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            let path = self.path.display();
            let text = format!(
                "not permitted to read the events in {path}: use sudo, or join the group of that folder (adm)"
            );
            return Err(Failure::Unsupported(text).into());
        }
        let names = names.with_context(|| {
            let path = self.path.display();
            format!("can't read the events in {path}: is the service running? --dir names another folder")
        })?;
        let mut segments: BTreeMap<(u64, String), Segment> = BTreeMap::new();
        for entry in names {
            let entry = entry.with_context(|| format!("can't read {}", self.path.display()))?;
            let name = entry.file_name();
            let Some((stem, kind)) = name.to_str().and_then(stem_and_kind) else { continue };
            let number = number(stem).unwrap_or(0);
            if number == 0 && kind == SEALS {
                continue;
            }
            let segment = segments
                .entry((number, stem.to_owned()))
                .or_insert_with(|| self.segment(number, stem));
            if kind == COMPRESSED || (kind == PLAIN && !segment.compressed) {
                segment.events = Some(entry.path());
                segment.compressed = kind == COMPRESSED;
            }
        }
        Ok(segments.into_values().collect())
    }

    /// The next segment after `last`.
    #[must_use]
    pub fn next(&self, last: Option<&Segment>, now: Timestamp) -> Segment {
        let number = last.map_or(1, |last| last.number + 1);
        let stem = format!("{PREFIX}{number:06}-{}", now.strftime(BEGUN));
        let mut segment = self.segment(number, &stem);
        segment.events = Some(self.path.join(format!("{stem}.{PLAIN}")));
        segment
    }

    fn segment(&self, number: u64, stem: &str) -> Segment {
        Segment {
            number,
            stem: stem.to_owned(),
            events: None,
            compressed: false,
            seals: self.path.join(format!("{stem}.{SEALS}")),
            torn: self.path.join(format!("{stem}.{TORN}")),
        }
    }

    /// The file that names the last seal.
    #[must_use]
    pub fn head(&self) -> PathBuf {
        self.path.join(HEAD)
    }

    /// Opens a file for writing, 0640, of the folder's group; creates it if it is missing.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let file = regular(&mut options, path)?;
        self.give(&file);
        Ok(file)
    }

    /// Sets group and mode, whatever the umask is.
    fn give(&self, file: &File) {
        let mode = file.metadata().map_or(0o640, |m| if m.is_dir() { 0o750 } else { 0o640 });
        let given = self
            .group
            .map_or(Ok(()), |group| rustix::fs::fchown(file, None, Some(Gid::from_raw(group))));
        let given = given.and_then(|()| rustix::fs::fchmod(file, Mode::from_raw_mode(mode)));
        if let Err(error) = given {
            tracing::debug!(%error, "can't set the group or the mode of a file");
        }
    }

    /// Makes creations, renames and removals in the folder durable.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn stem_and_kind(name: &str) -> Option<(&str, &'static str)> {
    [COMPRESSED, PLAIN, SEALS]
        .into_iter()
        .find_map(|kind| Some((name.strip_suffix(kind)?.strip_suffix('.')?, kind)))
}

/// Opens a file of a folder for reading.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true), path)
}

/// Reads a whole small file of a folder.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_to_read(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens regular files only: a symbolic link could lead anywhere, and a pipe would block for ever.
fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::other("it is a symbolic link"));
        }
        opened => opened?,
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

fn number(stem: &str) -> Option<u64> {
    let (number, _) = stem.strip_prefix(PREFIX)?.split_once('-')?;
    number.parse().ok().filter(|number| *number <= HIGHEST)
}

/// The id of a group, from `/etc/group`.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode};

    use super::{Folder, number, read};

    #[test]
    fn numbers() {
        assert_eq!(number("observer-000012-20261122T143215Z"), Some(12));
        assert_eq!(number("observer-x-20261122T143215Z"), None);
        assert_eq!(number("other-000012-20261122T143215Z"), None);
        // The next number would overflow.
        assert_eq!(number("observer-18446744073709551615-20261122T143215Z"), None);
    }

    #[test]
    fn a_link_and_a_pipe_are_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let (link, pipe) = (dir.path().join("link"), dir.path().join("pipe"));
        std::os::unix::fs::symlink("/etc/passwd", &link).expect("a link");
        assert_eq!(read(&link).expect_err("a link").to_string(), "it is a symbolic link");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        assert_eq!(read(&pipe).expect_err("a pipe").to_string(), "it is not a regular file");
    }

    #[test]
    fn segments_are_in_order_and_the_compressed_file_counts() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in [
            "observer-000002-b.jsonl",
            "observer-000001-a.jsonl",
            "observer-000001-a.jsonl.zst",
            "observer-000001-a.seals",
            "observer-000003-c.seals",
            "notes.jsonl",
            "observer.head",
        ] {
            std::fs::write(dir.path().join(name), "").expect("room");
        }
        let segments = Folder::at(dir.path()).segments().expect("readable");
        let shown: Vec<_> =
            segments.iter().map(|s| (s.number, s.compressed, s.events.is_some())).collect();
        assert_eq!(shown, [(0, false, true), (1, true, true), (2, false, true), (3, false, false)]);
    }
}
