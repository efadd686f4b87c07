//! Finds the file at the path of a unix socket, as the refused process would find it.
//!
//! **Invariant:** never leaves the root that the path is resolved from, and never follows a magic link. The process chooses
//! the path, and we are root. A dead process that had the same root as its parent is looked up from there.
//!
//! **Bounded:** asks no file system that may let us wait: a path is followed in the kernel's cache (RESOLVE_CACHED, Linux 5.12),
//! where bind(2) has just followed it. What is not there, on FUSE or NFS for one, is out of reach. Reads [`MOUNTS`] bytes of
//! a list of mounts.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use jiff::Timestamp;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, open, openat2, statx},
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
    /// Out of reach: the process's folder can't be opened, or the path leads out of it, through `/proc`, or to a file system
    /// that may let us wait.
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

/// Who asks for a path.
#[derive(Clone, Copy, Debug)]
pub struct PathAsker {
    /// Its process id.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// It had the same root as its parent.
    pub has_parents_root: bool,
}

/// Resolves the path from the process's own root and working directory, links included.
#[must_use]
pub fn look_at(asker: PathAsker, path: &[u8]) -> AtPath {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    match find(asker, path).and_then(|found| describe(&found, [asker.pid, asker.ppid])) {
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
fn find(asker: PathAsker, path: &Path) -> Result<OwnedFd, Errno> {
    let folder = |pid: u32, name: &str| open(format!("/proc/{pid}/{name}"), FOLDER, Mode::empty());
    let own = || open("/", FOLDER, Mode::empty());
    let root = match folder(asker.pid, "root") {
        Err(_gone) if asker.has_parents_root => folder(asker.ppid, "root")?,
        root => root?,
    };
    let (from, resolve) = if path.is_absolute() {
        (root, ResolveFlags::IN_ROOT)
    } else if same(&root, &own()?)? {
        (folder(asker.pid, "cwd")?, ResolveFlags::empty())
    } else {
        // Above its working directory, the inside and the outside of its root can't be distinguished.
        (folder(asker.pid, "cwd")?, ResolveFlags::BENEATH)
    };
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    match openat2(&from, path, flags, Mode::empty(), resolve | ResolveFlags::CACHED) {
        // Linux before 5.12 does not know that flag.
        Err(Errno::INVAL) => openat2(&from, path, flags, Mode::empty(), resolve),
        found => found,
    }
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// What is known of a file without asking its file system (AT_STATX_DONT_SYNC).
fn known(file: &OwnedFd) -> Result<Statx, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(file, "", flags, StatxFlags::BASIC_STATS)
}

fn same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (one, other) = (known(one)?, known(other)?);
    let id = |stat: &Statx| (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
    Ok(id(&one) == id(&other))
}

fn describe(found: &OwnedFd, seen_by: [u32; 2]) -> Result<AtPath, Errno> {
    let stat = known(found)?;
    let file = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Socket => {
            let nanoseconds = i32::try_from(stat.stx_mtime.tv_nsec).unwrap_or(0);
            let made = Timestamp::new(stat.stx_mtime.tv_sec, nanoseconds).ok();
            PathFile::Socket(stat.stx_ino, stat.stx_uid, made)
        }
        FileType::Directory => PathFile::Other("a folder".into()),
        FileType::Symlink => PathFile::Other("a symbolic link".into()),
        _ => PathFile::Other("a file".into()),
    };
    let (major, minor) = (stat.stx_dev_major, stat.stx_dev_minor);
    let is_device = major != 0 || seen_by.into_iter().any(|pid| is_mounted(pid, minor));
    // MKDEV, include/linux/kdev_t.h.
    let device = is_device.then_some((major << 20) | minor);
    Ok(AtPath { file, device })
}

/// Most bytes of a list of mounts that are read: anybody may have a hundred thousand of his own.
const MOUNTS: u64 = 1 << 20;

/// Whether a process sees a mount of the device 0:`minor`. btrfs (subvolumes) and overlayfs (layers) give files other numbers than
/// their mounts have, or none that tells: statfs(2) would name the file system, but asks it.
fn is_mounted(pid: u32, minor: u32) -> bool {
    let Ok(mounts) = File::open(format!("/proc/{pid}/mountinfo")) else { return false };
    let device = format!("0:{minor}");
    BufReader::new(mounts.take(MOUNTS)).lines().map_while(Result::ok).any(|mount| {
        let kind = mount.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
        mount.split(' ').nth(2) == Some(&device) && !matches!(kind, Some("btrfs" | "overlay"))
    })
}
