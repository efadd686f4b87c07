//! Paths that were read before.
//!
//! To follow a path costs a call for each of its names; most deaths are of a few programs in a few cgroups. What identifies the
//! chain of its names (where each lies or its number, and its hash, which the kernel makes anew when it is renamed) is read by
//! plain loads, and the text is copied when it is known. Another text for the same chain would take two names with one 32-bit
//! hash at one address.

use observer_common::{loss::SLOT_EXIT, offsets::ABSENT};

use crate::{
    fields::{
        Access, DENTRY_HASH, DENTRY_PARENT, KN_HASH, KN_ID, KN_PARENT, MOUNT_MNT, MOUNT_MOUNTPOINT,
        MOUNT_PARENT, Probe, VFSMOUNT_ROOT, field,
    },
    maps::REMEMBERED,
    paths::DEPTH,
    scratch::Writer,
};

/// Longest path that is remembered.
const BYTES: usize = 240;
/// Places for programs, and again for cgroups: a power of two.
const HALF: u32 = 16;
pub(crate) const PLACES: u32 = 2 * HALF;

/// A path: its names, leaf first, and what it was read from.
#[repr(C, align(8))]
pub(crate) struct Remembered {
    chain: u64,
    len: u64,
    names: [u8; BYTES],
}

/// No chain that is to be remembered. Not an `Option`, whose value the compiler leaves unwritten where there is none, and
/// copies all the same: Linux 5.10 refuses that.
const NONE: u64 = 0;
/// A chain without names: there is nothing to remember.
const EMPTY: u64 = 1;

/// What identifies a chain of names, and where its path is kept. [`NONE`] for all but the first exit program: on one CPU the
/// kernel never runs it twice at once, so that what belongs to the CPU is its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    hash: u64,
    half: Half,
}

/// Every death has one of each, which must not push each other out.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Half {
    File,
    Cgroup,
}

impl Chain {
    #[inline(always)]
    fn add(&mut self, part: u64) {
        const ODD: u64 = 0x517c_c1b7_2722_0a95;
        self.hash = (self.hash.rotate_left(5) ^ part).wrapping_mul(ODD);
    }

    /// That of a file: the names up to the root of its file system, then the mounts up to that of the namespace.
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
        let mut chain = Self { hash: EMPTY, ..none };
        let root: *const u8 = field::<A, _>(vfsmount, &VFSMOUNT_ROOT);
        let mut dentry = dentry;
        for _ in 0..DEPTH {
            let parent: *const u8 = field::<A, _>(dentry, &DENTRY_PARENT);
            if dentry == root || dentry == parent {
                let mount = writer.number(vfsmount).wrapping_sub(u64::from(MOUNT_MNT.load()));
                let mount = mount as *const u8;
                return if chain.mounts(mount) { chain } else { none };
            }
            chain.add(writer.number(dentry));
            chain.add(u64::from(field::<A, u32>(dentry, &DENTRY_HASH)));
            dentry = parent;
        }
        none
    }

    /// Goes on where a mount is mounted; false when there are too many names.
    #[inline(always)]
    fn mounts(&mut self, mount: *const u8) -> bool {
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

    /// That of a cgroup's directory. In v2 none can be renamed, and no number is given twice (`kernfs_syscall_ops` of
    /// kernel/cgroup/cgroup.c, `__kernfs_new_node`): its own will do.
    #[inline(always)]
    pub(crate) fn of_kernfs<A: Access>(writer: Writer, kn: *const u8, v2: bool) -> Self {
        let none = Self { hash: NONE, half: Half::Cgroup };
        if writer.slot() != SLOT_EXIT || KN_ID.load() == ABSENT || KN_HASH.load() == ABSENT {
            return none;
        }
        let mut chain = Self { hash: EMPTY, ..none };
        let mut kn = kn;
        for _ in 0..DEPTH {
            let parent: *const u8 = field::<A, _>(kn, &KN_PARENT);
            if parent.is_null() {
                return if chain.hash == EMPTY { none } else { chain };
            }
            chain.add(field::<A, u64>(kn, &KN_ID));
            if v2 {
                return chain;
            }
            chain.add(u64::from(field::<A, u32>(kn, &KN_HASH)));
            kn = parent;
        }
        none
    }

    /// Appends the names of this chain; false when they are not known.
    #[inline(always)]
    pub(crate) fn recall(self, writer: Writer) -> bool {
        if self.hash == NONE {
            return false;
        }
        let Some(known) = REMEMBERED.get_ptr(self.place()) else { return false };
        // SAFETY: a value of this CPU's, which only this program uses.
        unsafe {
            if (*known).chain != self.hash {
                return false;
            }
            writer.append((&raw const (*known).names).cast(), (*known).len as u32);
        }
        true
    }

    /// Keeps what was appended since `start`. Whoever calls it has made sure that the chain is still the same: a name that
    /// changed while it was read would be told again whenever it is changed back.
    #[inline(always)]
    pub(crate) fn remember(self, writer: Writer, start: u32) {
        let len = writer.len() - start;
        if len as usize > BYTES || self.hash == NONE {
            return;
        }
        let Some(known) = REMEMBERED.get_ptr_mut(self.place()) else { return };
        // SAFETY: as in `recall`; the names may be followed by what an earlier record left there.
        unsafe {
            (*known).chain = self.hash;
            (*known).len = u64::from(len);
            (*known).names = *writer.since::<BYTES>(start);
        }
    }

    #[inline(always)]
    fn place(self) -> u32 {
        self.half as u32 * HALF + (self.hash >> (u64::BITS - HALF.ilog2())) as u32
    }
}

/// What a mount is mounted on, where, and its own root stand side by side, as do a name's parent and its hash: one read each.
#[inline(always)]
fn in_one_piece() -> bool {
    MOUNT_MOUNTPOINT.load() == MOUNT_PARENT.load() + 8
        && MOUNT_MNT.load() == MOUNT_PARENT.load() + 16
        && VFSMOUNT_ROOT.load() == 0
        && DENTRY_HASH.load() == DENTRY_PARENT.load() + 8
}
