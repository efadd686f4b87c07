//! What lies at the path of a unix socket, as the process that was refused would find it.

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

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathFile {
    /// Nothing, by now.
    Gone,
    /// The file of a socket: its inode, its owner, and when it was made.
    Socket(u64, u32, Option<Timestamp>),
    /// Something else, in words.
    Other(Cow<'static, str>),
    /// It can't be looked at: the process's folder is out of reach, or the path leads out of it, or through `/proc`.
    Unreachable,
}

/// What lies at a path, and where.
#[derive(Debug)]
pub struct AtPath {
    /// What.
    pub file: PathFile,
    /// Number of its device as the kernel has it (`s_dev`); `None` on file systems that tell another one.
    pub device: Option<u32>,
}

/// Looks from the process's own root and folder. Links on the way lead where they lead for the process, and never out of what
/// it can see: whoever is refused chooses the path, and we are root.
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

/// The file itself: a link at the end of the path is not followed, as bind(2) does not.
fn find(pid: u32, ppid: u32, path: &Path) -> Result<OwnedFd, Errno> {
    let folder = |pid: u32, name: &str| open(format!("/proc/{pid}/{name}"), FOLDER, Mode::empty());
    let own = || open("/", FOLDER, Mode::empty());
    // A process that is gone most likely shared the root of its parent, or ours.
    let root = folder(pid, "root").or_else(|_gone| folder(ppid, "root")).or_else(|_gone| own())?;
    let (from, resolve) = if path.is_absolute() {
        (root, ResolveFlags::IN_ROOT)
    } else if same(&root, &own()?)? {
        (folder(pid, "cwd")?, ResolveFlags::empty())
    } else {
        // What lies above its folder can't be told from what lies outside of its root.
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
    let tells_another = TELL_ANOTHER.contains(&fstatfs(found)?.f_type);
    Ok(AtPath { file, device: (!tells_another).then_some(device) })
}

/// File systems whose stat(2) tells a device of its own making, and not `s_dev`: btrfs for its subvolumes, overlayfs for its
/// layers (uapi/linux/magic.h).
const TELL_ANOTHER: [FsWord; 2] = [0x9123_683e, 0x794c_7630];
