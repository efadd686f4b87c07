//! Whose process it is: the user, and the service, session or container.
//!
//! A user without rights may have as many users, cgroups and processes as he likes, and still is one origin: of nested user
//! namespaces the outermost counts, and of nested cgroups the highest that root has not made or kept. The leaf is the group
//! where root made all of them: a unit, a session, a container.
//!
//! **Bounded:** [`NAMESPACES`] namespaces and [`GROUPS`] cgroups a walk.

use aya_ebpf::Global;
use observer_common::offsets::ABSENT;

use crate::fields::{
    Access, CGROUP_KN, CRED_UID, CRED_USER_NS, CSS_CGROUP, CSS_SET_DFL, CSS_SET_SUBSYS, IATTR_UID,
    KN_IATTR, KN_ID, KN_PARENT, MEMORY_CGRP_ID, Probe, TASK_CGROUPS, TASK_CRED, USER_NS_LEVEL,
    USER_NS_OWNER, USER_NS_PARENT, field, pointer, try_field,
};

/// Whoever nests user namespaces deeper is one user with all who do: [`NESTED`].
const NAMESPACES: u32 = 4;
const NESTED: u32 = u32::MAX - 1;
/// Whoever nests cgroups deeper has one origin for all of those.
const GROUPS: u32 = 10;

/// Two processes of one origin share what one origin may take.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// Id of the group's kernfs node; 0 when there is none.
    pub(crate) group: u64,
    pub(crate) user: u32,
}

impl Origin {
    #[inline(always)]
    pub(crate) fn of(task: *const u8) -> Self {
        Self { group: group(task), user: user::<Probe>(task) }
    }
}

/// The user in the first user namespace: [`observer_common::task::TaskRecord::origin_uid`].
#[inline(always)]
pub(crate) fn user<A: Access>(task: *const u8) -> u32 {
    let Some(cred) = pointer::<A>(task, &TASK_CRED) else { return u32::MAX };
    let uid = try_field::<A, u32>(cred, &CRED_UID).unwrap_or(u32::MAX);
    if USER_NS_PARENT.load() == ABSENT
        || USER_NS_LEVEL.load() == ABSENT
        || USER_NS_OWNER.load() == ABSENT
    {
        return uid;
    }
    let Some(mut namespace) = pointer::<A>(cred, &CRED_USER_NS) else { return uid };
    if field::<A, u32>(namespace, &USER_NS_LEVEL) == 0 {
        return uid;
    }
    for _ in 0..NAMESPACES {
        let parent: *const u8 = field::<A, _>(namespace, &USER_NS_PARENT);
        if parent.is_null() || field::<A, u32>(parent, &USER_NS_LEVEL) == 0 {
            return field::<A, u32>(namespace, &USER_NS_OWNER);
        }
        namespace = parent;
    }
    NESTED
}

#[inline(always)]
fn group(task: *const u8) -> u64 {
    if KN_PARENT.load() == ABSENT || KN_ID.load() == ABSENT {
        return 0;
    }
    let mut node = leaf(task);
    let mut group = 0;
    if !node.is_null() {
        group = field::<Probe, u64>(node, &KN_ID);
    }
    for _ in 0..GROUPS {
        let parent = follow(node, &KN_PARENT);
        if parent.is_null() {
            return group;
        }
        if is_a_users(node) {
            group = field::<Probe, u64>(node, &KN_ID);
        }
        node = parent;
    }
    0
}

/// Whether somebody else than root has made it, or was given it (`cgroup_kn_set_ugid`, kernel/cgroup/cgroup.c).
#[inline(always)]
fn is_a_users(node: *const u8) -> bool {
    let attributes = follow(node, &KN_IATTR);
    !attributes.is_null()
        && IATTR_UID.load() != ABSENT
        && field::<Probe, u32>(attributes, &IATTR_UID) != 0
}

/// The kernfs node of the task's version 2 cgroup or, in the root of that hierarchy, of its version 1 memory cgroup; NULL when
/// there is none.
#[inline(always)]
fn leaf(task: *const u8) -> *const u8 {
    let css_set = follow(task, &TASK_CGROUPS);
    let unified = follow(follow(css_set, &CSS_SET_DFL), &CGROUP_KN);
    if !follow(unified, &KN_PARENT).is_null()
        || css_set.is_null()
        || MEMORY_CGRP_ID.load() == ABSENT
    {
        return unified;
    }
    let slot = css_set.wrapping_add(MEMORY_CGRP_ID.load() as usize * size_of::<u64>());
    let memory = follow(follow(follow(slot, &CSS_SET_SUBSYS), &CSS_CGROUP), &CGROUP_KN);
    if memory.is_null() { unified } else { memory }
}

/// A pointer field; NULL where the kernel lacks it, and for a NULL base. No `Option`: of two `None`s that meet the compiler copies
/// what was never written, which the verifier refuses.
#[inline(always)]
fn follow(base: *const u8, offset: &Global<u32>) -> *const u8 {
    if base.is_null() || offset.load() == ABSENT {
        return core::ptr::null();
    }
    field::<Probe, _>(base, offset)
}
