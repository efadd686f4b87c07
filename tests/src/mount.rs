//! Temporary mounts.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A mount, unmounted on drop.
pub struct Mounted(PathBuf);

impl Mounted {
    /// A tmpfs, with these options of tmpfs(5).
    pub fn tmpfs(at: &Path, options: &str) -> Self {
        mount(c"tmpfs", at, 0, options);
        Self(at.to_owned())
    }

    /// A bind mount.
    pub fn bind(source: &Path, at: &Path) -> Self {
        mount(&c_string(source), at, libc::MS_BIND, "");
        Self(at.to_owned())
    }

    /// An existing mount.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Remounts a [`Self::tmpfs`] with other flags.
    pub fn again(&self, flags: libc::c_ulong, options: &str) {
        mount(c"tmpfs", &self.0, libc::MS_REMOUNT | flags, options);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let path = c_string(&self.0);
        // SAFETY: the path is a string that outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL in it")
}

fn mount(source: &CStr, at: &Path, flags: libc::c_ulong, options: &str) {
    let (at, options) = (c_string(at), CString::new(options).expect("no NUL in it"));
    let kind = c"tmpfs".as_ptr();
    let (source, options) = (source.as_ptr(), options.as_ptr());
    // SAFETY: all are strings that outlive the call.
    let done = unsafe { libc::mount(source, at.as_ptr(), kind, flags, options.cast()) };
    assert_eq!(done, 0, "mount: {}", std::io::Error::last_os_error());
}
