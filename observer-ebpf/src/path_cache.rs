//! The cache of paths: executables and cgroups of deaths.
//!
//! Reading a path costs one helper call a name, and most deaths are of a few programs in a few cgroups. The cache replaces the
//! calls by plain loads and one copy.
//!
//! **Policy.** The key is a 64-bit hash over the chain of names: for each name its address or number, and the hash of its text,
//! which the kernel computes again at a rename. There are 16 places for executables and 16 for cgroups on each processor, 256
//! bytes each; the top bits of the key choose the place, and a new path replaces what was there. No entry goes stale: a rename,
//! a move or a new mount gives another key, so the old entry is missed until it is replaced. A wrong hit needs two names with
//! the same 32-bit hash at the same address, which the kernel salts with an address that nobody is told, or two chains with the
//! same key. Only the first exit program uses the cache, and a
//! path longer than 240 bytes is not kept.

use observer_common::{loss::SLOT_EXIT, offsets::ABSENT};

use crate::{
    fields::{
        Access, DENTRY_HASH, DENTRY_PARENT, KN_ID, KN_PARENT, MOUNT_MNT, MOUNT_MOUNTPOINT,
        MOUNT_PARENT, Probe, VFSMOUNT_ROOT, field,
    },
    maps::REMEMBERED,
    paths::DEPTH,
    scratch::Writer,
};

/// Longest path that is kept.
const BYTES: usize = 240;
/// Places for executables, and again for cgroups: a power of two.
const HALF: u32 = 16;
/// Places on each processor.
pub(crate) const PATH_PLACES: u32 = 2 * HALF;

/// A path: the hash of its [`PathKey`], and its names, leaf first.
#[repr(C, align(8))]
pub(crate) struct CachedPath {
    key: u64,
    len: u64,
    names: [u8; BYTES],
}

/// The hash of a path that is not to be cached. Not an `Option`: for a `None` the compiler leaves the value unwritten and copies
/// it all the same, which Linux 5.10 refuses.
const NONE: u64 = 0;
/// The hash of a chain without names: there is nothing to cache.
const EMPTY: u64 = 1;

/// The key of a path. Its hash is [`NONE`] in all but the first exit program: the kernel never runs that program twice at once on
/// one CPU, so it is the only one to use the places of its CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathKey {
    hash: u64,
    half: Half,
}

/// Every death has one path of each kind; they must not replace each other.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Half {
    File,
    Cgroup,
}

impl PathKey {
    #[inline(always)]
    fn add(&mut self, part: u64) {
        const ODD: u64 = 0x517c_c1b7_2722_0a95;
        self.hash = (self.hash.rotate_left(5) ^ part).wrapping_mul(ODD);
    }

    /// The key of a file: the names up to the root of its file system, then the mounts up to the root of the mount namespace.
    #[inline(always)]
    pub(crate) fn of_file<A: Access>(
        writer: Writer,
        dentry: *const u8,
        vfsmount: *const u8,
    ) -> Self {
        let none = Self { hash: NONE, half: Half::File };
        if writer.slot() != SLOT_EXIT || DENTRY_HASH.load() == ABSENT || !in_one_piece() {
            return none;
        }
        let mut key = Self { hash: EMPTY, ..none };
        let root: *const u8 = field::<A, _>(vfsmount, &VFSMOUNT_ROOT);
        let mut dentry = dentry;
        for _ in 0..DEPTH {
            let parent: *const u8 = field::<A, _>(dentry, &DENTRY_PARENT);
            if dentry == root || dentry == parent {
                let mount = writer.number(vfsmount).wrapping_sub(u64::from(MOUNT_MNT.load()));
                let mount = mount as *const u8;
                return if key.add_mounts(mount) { key } else { none };
            }
            key.add(writer.number(dentry));
            key.add(u64::from(field::<A, u32>(dentry, &DENTRY_HASH)));
            dentry = parent;
        }
        none
    }

    /// Adds the names above each mount point; false when there are too many.
    #[inline(always)]
    fn add_mounts(&mut self, mount: *const u8) -> bool {
        let mut mount = mount;
        let [mut up, mut at, mut root] = field::<Probe, [*const u8; 3]>(mount, &MOUNT_PARENT);
        let mut dentry = root;
        for _ in 0..DEPTH {
            if dentry == root {
                if up == mount || up.is_null() {
                    return true;
                }
                self.add(mount as u64);
                (mount, dentry) = (up, at);
                [up, at, root] = field::<Probe, [*const u8; 3]>(mount, &MOUNT_PARENT);
                continue;
            }
            let [parent, hash] = field::<Probe, [u64; 2]>(dentry, &DENTRY_PARENT);
            self.add(dentry as u64);
            self.add(hash);
            dentry = parent as *const u8;
        }
        false
    }

    /// The key of a cgroup's directory. A v2 cgroup cannot be renamed and its number is never used again (`kernfs_syscall_ops`
    /// of kernel/cgroup/cgroup.c, `__kernfs_new_node`), so that its own number is enough. A v1 group has no key: its owner may
    /// rename it, to a name with the same hash, which has 31 bits and no secret (`kernfs_name_hash`).
    #[inline(always)]
    pub(crate) fn of_kernfs<A: Access>(writer: Writer, kn: *const u8, v2: bool) -> Self {
        let mut key = Self { hash: NONE, half: Half::Cgroup };
        if writer.slot() != SLOT_EXIT || KN_ID.load() == ABSENT || !v2 {
            return key;
        }
        if !field::<A, *const u8>(kn, &KN_PARENT).is_null() {
            key.hash = EMPTY;
            key.add(field::<A, u64>(kn, &KN_ID));
        }
        key
    }

    /// Appends the path of this key; false when the cache does not have it.
    #[inline(always)]
    pub(crate) fn append_cached(self, writer: Writer) -> bool {
        if self.hash == NONE {
            return false;
        }
        let Some(cached) = REMEMBERED.get_ptr(self.place()) else { return false };
        // SAFETY: a value of this CPU, which only this program uses.
        unsafe {
            if (*cached).key != self.hash {
                return false;
            }
            writer.append((&raw const (*cached).names).cast(), (*cached).len as u32);
        }
        true
    }

    /// Caches the path that was appended since `start`. The caller has computed the key again after it read the path and found
    /// it the same: else a name that changed meanwhile would be reported whenever it changes back.
    #[inline(always)]
    pub(crate) fn insert(self, writer: Writer, start: u32) {
        let len = writer.len() - start;
        if len as usize > BYTES || self.hash == NONE {
            return;
        }
        let Some(cached) = REMEMBERED.get_ptr_mut(self.place()) else { return };
        // SAFETY: as in `append_cached`; bytes of an earlier record may follow the names.
        unsafe {
            (*cached).key = self.hash;
            (*cached).len = u64::from(len);
            (*cached).names = *writer.since::<BYTES>(start);
        }
    }

    #[inline(always)]
    fn place(self) -> u32 {
        self.half as u32 * HALF + (self.hash >> (u64::BITS - HALF.ilog2())) as u32
    }
}

/// Whether this kernel has the fields side by side that one read takes: a mount's parent, mount point and root; a name's parent
/// and hash.
#[inline(always)]
fn in_one_piece() -> bool {
    MOUNT_MOUNTPOINT.load() == MOUNT_PARENT.load() + 8
        && MOUNT_MNT.load() == MOUNT_PARENT.load() + 16
        && VFSMOUNT_ROOT.load() == 0
        && DENTRY_HASH.load() == DENTRY_PARENT.load() + 8
}
