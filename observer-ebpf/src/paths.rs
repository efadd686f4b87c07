//! Paths, which the kernel keeps as chains of names. Each name is written with its NUL, leaf first; userspace reverses them.
//!
//! **Bounded:** [`DEPTH`] names a walk, [`PATH_MAX`] bytes a path.

use crate::{
    fields::{
        Access, CGROUP_KN, CSS_CGROUP, CSS_SET_DFL, CSS_SET_SUBSYS, DENTRY_HASH_PPREV, DENTRY_NAME,
        DENTRY_PARENT, FILE_DENTRY, FILE_MNT, KN_NAME, KN_PARENT, MEMORY_CGRP_ID, MM_EXE_FILE,
        MOUNT_MNT, MOUNT_MOUNTPOINT, MOUNT_PARENT, Probe, TASK_CGROUPS, VFSMOUNT_ROOT, field,
        pointer,
    },
    path_cache::PathKey,
    scratch::Writer,
};
use observer_common::{
    offsets::ABSENT,
    task::{PATH_MAX, TASK_CGROUP_CUT, TASK_CGROUP_V1, TASK_EXE_CUT, TASK_EXE_DELETED},
};

/// Most names that are followed in the file system of the executable, and again above it, mounts included.
pub(crate) const DEPTH: u32 = 24;
/// Longest single name the kernel allows, with its NUL.
const NAME: u32 = 256;

/// What was appended: its length, and `TASK_` flags.
pub(crate) struct Path {
    pub(crate) len: u16,
    pub(crate) flags: u32,
}

/// Appends the path of the program that `mm` runs, within its mount namespace, as d_path does (fs/d_path.c).
#[inline(always)]
pub(crate) fn executable<A: Access>(writer: Writer, mm: *const u8) -> Path {
    let mut path = Path { len: 0, flags: 0 };
    let start = writer.len();
    let Some(file) = pointer::<A>(mm, &MM_EXE_FILE) else { return path };
    let (Some(dentry), Some(vfsmount)) =
        (pointer::<A>(file, &FILE_DENTRY), pointer::<A>(file, &FILE_MNT))
    else {
        return path;
    };
    if DENTRY_HASH_PPREV.load() != ABSENT && field::<A, u64>(dentry, &DENTRY_HASH_PPREV) == 0 {
        path.flags |= TASK_EXE_DELETED;
    }
    if MOUNT_MNT.load() == ABSENT {
        return path;
    }
    let before = PathKey::of_file::<A>(writer, dentry, vfsmount);
    if before.append_cached(writer) {
        path.len = (writer.len() - start) as u16;
        return path;
    }
    // `vfsmount` is a member of `struct mount`, to which no typed pointer leads: everything above it is probed.
    let ended = climb::<A>(writer, start, dentry, vfsmount)
        && above(writer, start, vfsmount.wrapping_sub(MOUNT_MNT.load() as usize));
    if !ended {
        path.flags |= TASK_EXE_CUT;
    } else if PathKey::of_file::<A>(writer, dentry, vfsmount) == before {
        before.insert(writer, start);
    }
    path.len = (writer.len() - start) as u16;
    path
}

/// Appends the names from `dentry` up to the root of its file system; false when there are too many.
#[inline(always)]
fn climb<A: Access>(writer: Writer, start: u32, dentry: *const u8, vfsmount: *const u8) -> bool {
    let root: *const u8 = field::<A, _>(vfsmount, &VFSMOUNT_ROOT);
    let mut dentry = dentry;
    for _ in 0..DEPTH {
        let parent: *const u8 = field::<A, _>(dentry, &DENTRY_PARENT);
        if dentry == root || dentry == parent {
            return true;
        }
        if !name(writer, start, field::<A, _>(dentry, &DENTRY_NAME)) {
            return false;
        }
        dentry = parent;
    }
    false
}

/// Appends the names above each mount point, up to the root of the mount namespace; false when there are too many.
#[inline(always)]
fn above(writer: Writer, start: u32, mount: *const u8) -> bool {
    let mut up: *const u8 = field::<Probe, _>(mount, &MOUNT_PARENT);
    if up == mount || up.is_null() {
        return true;
    }
    let mut dentry: *const u8 = field::<Probe, _>(mount, &MOUNT_MOUNTPOINT);
    let mut mount = up;
    for _ in 0..DEPTH {
        let parent: *const u8 = field::<Probe, _>(dentry, &DENTRY_PARENT);
        let vfsmount = mount.wrapping_add(MOUNT_MNT.load() as usize);
        let root: *const u8 = field::<Probe, _>(vfsmount, &VFSMOUNT_ROOT);
        if dentry == root || dentry == parent {
            up = field::<Probe, _>(mount, &MOUNT_PARENT);
            if up == mount || up.is_null() {
                return true;
            }
            dentry = field::<Probe, _>(mount, &MOUNT_MOUNTPOINT);
            mount = up;
        } else {
            if !name(writer, start, field::<Probe, _>(dentry, &DENTRY_NAME)) {
                return false;
            }
            dentry = parent;
        }
    }
    false
}

/// Appends one name of the path that began at `start`; false when there is no room.
#[inline(always)]
fn name(writer: Writer, start: u32, name: *const u8) -> bool {
    writer.len() - start <= PATH_MAX - NAME && !writer.full() && writer.kernel_str(name) != 0
}

/// Appends the path of a cgroup: the kernfs names from `kn` up to the root, without the root's own.
#[inline(always)]
fn kernfs<A: Access>(writer: Writer, kn: *const u8, v2: bool) -> Path {
    let start = writer.len();
    let (leaf, before) = (kn, PathKey::of_kernfs::<A>(writer, kn, v2));
    if before.append_cached(writer) {
        return Path { len: (writer.len() - start) as u16, flags: 0 };
    }
    let mut kn = kn;
    let mut ended = false;
    for _ in 0..DEPTH {
        let parent: *const u8 = field::<A, _>(kn, &KN_PARENT);
        if parent.is_null() {
            ended = true;
            break;
        }
        if !name(writer, start, field::<A, _>(kn, &KN_NAME)) {
            break;
        }
        kn = parent;
    }
    if ended && PathKey::of_kernfs::<A>(writer, leaf, v2) == before {
        before.insert(writer, start);
    }
    Path { len: (writer.len() - start) as u16, flags: if ended { 0 } else { TASK_CGROUP_CUT } }
}

/// Appends the cgroup of a task: its v2 cgroup, or that of the v1 memory controller when the task is in the root of v2.
#[inline(always)]
pub(crate) fn cgroup<A: Access>(writer: Writer, task: *const u8) -> Path {
    let none = Path { len: 0, flags: TASK_CGROUP_CUT };
    if KN_PARENT.load() == ABSENT || KN_NAME.load() == ABSENT {
        return none;
    }
    let Some(css_set) = pointer::<A>(task, &TASK_CGROUPS) else { return none };
    let unified = pointer::<A>(css_set, &CSS_SET_DFL).and_then(|c| pointer::<A>(c, &CGROUP_KN));
    if let Some(kn) = unified {
        let path = kernfs::<A>(writer, kn, true);
        if path.len > 0 {
            return path;
        }
    }
    let mut path = memory_cgroup::<A>(writer, task);
    if path.len > 0 {
        path.flags |= TASK_CGROUP_V1;
    } else if unified.is_some() {
        path.flags = 0;
    }
    path
}

/// Appends the path of the task's cgroup in the hierarchy that has the memory controller.
#[inline(always)]
pub(crate) fn memory_cgroup<A: Access>(writer: Writer, task: *const u8) -> Path {
    let kn = memory_css::<A>(task)
        .and_then(|css| pointer::<A>(css, &CSS_CGROUP))
        .and_then(|cgroup| pointer::<A>(cgroup, &CGROUP_KN));
    match kn {
        Some(kn) => kernfs::<A>(writer, kn, false),
        None => Path { len: 0, flags: TASK_CGROUP_CUT },
    }
}

/// The task's memory cgroup: `css_set.subsys[memory_cgrp_id]`, the first member of its `struct mem_cgroup`.
#[inline(always)]
pub(crate) fn memory_css<A: Access>(task: *const u8) -> Option<*const u8> {
    if MEMORY_CGRP_ID.load() == ABSENT || CSS_SET_SUBSYS.load() == ABSENT {
        return None;
    }
    let css_set = pointer::<A>(task, &TASK_CGROUPS)?;
    let slot = css_set.wrapping_add(MEMORY_CGRP_ID.load() as usize * size_of::<u64>());
    pointer::<A>(slot, &CSS_SET_SUBSYS)
}
