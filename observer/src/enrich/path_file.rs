//! Finds the file at the path of a unix socket, as the refused process would find it.
//!
//! **Invariant:** never leaves the root that the path is resolved from, and never follows a magic link. The process chooses
//! the path, and we are root. For a dead process the root is its parent's, or ours.

use std::{
    borrow::Cow,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use jiff::Timestamp;
use rustix::{
    fs::{
        FileType, FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, major, minor, open, openat2,
    },
    io::Errno,
};
use serde::{Deserialize, Serialize};

/// The kind of file at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathFile {
    /// No file now.
    Gone,
    /// A socket's file: its inode, its owner, and when it was created.
    Socket(u64, u32, Option<Timestamp>),
    /// Something else, in words.
    Other(Cow<'static, str>),
    /// Out of reach: the process's folder can't be opened, or the path leads out of it, or through `/proc`.
    Unreachable,
}

/// The file at a path, and its device.
#[derive(Debug)]
pub struct AtPath {
    /// The file.
    pub file: PathFile,
    /// Its device number inside the kernel (`s_dev`); `None` on file systems where stat(2) gives another one.
    pub device: Option<u32>,
}

/// Resolves the path from the process's own root and working directory, links included.
#[must_use]
pub fn look_at(pid: u32, ppid: u32, path: &[u8]) -> AtPath {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    match find(pid, ppid, path).and_then(|found| describe(&found)) {
        Ok(found) => found,
        Err(Errno::NOENT) => PathFile::Gone.into(),
        Err(_) => PathFile::Unreachable.into(),
    }
}

impl From<PathFile> for AtPath {
    fn from(file: PathFile) -> Self {
        Self { file, device: None }
    }
}

/// Opens the file itself: like bind(2), does not follow a link at the end of the path.
fn find(pid: u32, ppid: u32, path: &Path) -> Result<OwnedFd, Errno> {
    let folder = |pid: u32, name: &str| open(format!("/proc/{pid}/{name}"), FOLDER, Mode::empty());
    let own = || open("/", FOLDER, Mode::empty());
    // A dead process most likely had the root of its parent, or ours.
    let root = folder(pid, "root").or_else(|_gone| folder(ppid, "root")).or_else(|_gone| own())?;
    let (from, resolve) = if path.is_absolute() {
        (root, ResolveFlags::IN_ROOT)
    } else if same(&root, &own()?)? {
        (folder(pid, "cwd")?, ResolveFlags::empty())
    } else {
        // Above its working directory, the inside and the outside of its root can't be distinguished.
        (folder(pid, "cwd")?, ResolveFlags::BENEATH)
    };
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    openat2(from, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty(), resolve)
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

fn same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn describe(found: &OwnedFd) -> Result<AtPath, Errno> {
    let stat = fstat(found)?;
    let file = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => {
            let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
            let made = Timestamp::new(stat.st_mtime, nanoseconds).ok();
            PathFile::Socket(stat.st_ino, stat.st_uid, made)
        }
        FileType::Directory => PathFile::Other("a folder".into()),
        FileType::Symlink => PathFile::Other("a symbolic link".into()),
        _ => PathFile::Other("a file".into()),
    };
    // MKDEV, include/linux/kdev_t.h.
    let device = (major(stat.st_dev) << 20) | minor(stat.st_dev);
    let has_own = OWN_DEVICE.contains(&fstatfs(found)?.f_type);
    Ok(AtPath { file, device: (!has_own).then_some(device) })
}

/// File systems where stat(2) gives a device number other than `s_dev`: btrfs (subvolumes) and overlayfs (layers), from
/// uapi/linux/magic.h.
const OWN_DEVICE: [FsWord; 2] = [0x9123_683e, 0x794c_7630];
