//! Reads of kernel structures: every one goes through here. Offsets come from the running kernel's BTF
//! (`observer_common::offsets`).

use aya_ebpf::{Global, helpers::generated as helpers};
use observer_common::offsets::ABSENT;

macro_rules! globals {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $name: Global<u32> = Global::new(ABSENT);
        )*
    };
}

globals! {
    TASK_EXIT_CODE TASK_FLAGS TASK_TGID TASK_PID TASK_START TASK_MM TASK_SIGNAL TASK_LEADER TASK_PARENT TASK_COMM
    TASK_CRED TASK_PTRACE TASK_FS FS_ROOT_MNT FS_ROOT_DENTRY TASK_NSPROXY TASK_CGROUPS TASK_SECCOMP_MODE TASK_THREAD_PID TASK_SIGHAND SIGHAND_ACTION
    SIGNAL_LIVE SIGNAL_FLAGS SIGNAL_GROUP_EXIT_CODE SIGNAL_RLIM SIGNAL_OOM_MM SIGNAL_OOM_SCORE_ADJ
    CRED_UID CRED_USER_NS USER_NS_PARENT USER_NS_LEVEL USER_NS_OWNER NSPROXY_MNT MNTNS_INUM NSPROXY_NET NET_INUM NET_PROT_SOCK PID_LEVEL PID_NUMBERS UPID_SIZE UPID_NR UPID_NS PIDNS_INUM
    MM_ARG_START MM_ARG_END MM_EXE_FILE MM_HIWATER_RSS MM_TOTAL_VM MM_PGTABLES MM_RSS MM_RSS_COUNT
    PERCPU_COUNTER_COUNT PERCPU_COUNTER_SIZE
    FILE_DENTRY FILE_MNT DENTRY_PARENT DENTRY_NAME DENTRY_HASH DENTRY_HASH_PPREV VFSMOUNT_ROOT MOUNT_MNT MOUNT_PARENT MOUNT_MOUNTPOINT
    CSS_SET_DFL CSS_SET_SUBSYS MEMORY_CGRP_ID CSS_CGROUP CSS_PARENT CGROUP_KN KN_NAME KN_PARENT KN_ID KN_IATTR IATTR_UID
    MEMCG_USAGE MEMCG_MAX MEMCG_MEMSW_USAGE MEMCG_MEMSW_MAX OC_MEMCG OC_CONSTRAINT OC_TOTALPAGES OC_CHOSEN
    TASK_FILES FILES_FDT FDT_FD FDT_MAX FILE_PRIVATE FILE_INODE INODE_MODE INODE_INO INODE_SB SB_DEV DENTRY_INODE
    SOCKET_SK SOCKET_FILE SK_FAMILY SK_STATE SK_PEER_PORT SK_NUM SK_ADDRESS SK_ADDRESS6 SK_DEVICE SK_NET
    SK_REUSE_BIT SK_REUSEPORT_BIT SK_V6ONLY_BIT SK_USERLOCKS_BIT SK_TYPE SK_PROTOCOL SK_UID SK_BACKLOG
    INET_SPORT ICSK_ULP ULP_NAME UNIX_ADDR UNIX_DENTRY UNIX_ADDR_LEN UNIX_ADDR_NAME REGS_DI REGS_SI REGS_DX
    EXIT_HAS_GROUP_DEAD
}

/// How a program may read kernel memory.
pub(crate) trait Access {
    /// Reads a value; a bad address reads as 0.
    ///
    /// # Safety
    /// `from` must be a pointer that the implementation can read through.
    unsafe fn read<T: Copy>(from: *const u8) -> T;

    /// Reads 16 bytes.
    ///
    /// # Safety
    /// As [`Access::read`].
    unsafe fn read_16(from: *const u8) -> [u8; 16];
}

/// Plain loads through pointers that the verifier tracks by BTF (tp_btf, fentry, iterators): no call, which saves about 40 ns.
pub(crate) struct Direct;

impl Access for Direct {
    #[inline(always)]
    unsafe fn read<T: Copy>(from: *const u8) -> T {
        // SAFETY: the verifier checks the type and turns a fault into 0. Volatile, so that each field stays one load.
        unsafe { core::ptr::read_volatile(from.cast()) }
    }

    #[inline(always)]
    unsafe fn read_16(from: *const u8) -> [u8; 16] {
        // SAFETY: as above, for each half; a load has at most 8 bytes. Any bytes are valid.
        unsafe {
            core::mem::transmute([Self::read::<u64>(from), Self::read::<u64>(from.wrapping_add(8))])
        }
    }
}

/// `bpf_probe_read_kernel`: any address, in any program.
pub(crate) struct Probe;

impl Access for Probe {
    #[inline(always)]
    unsafe fn read<T: Copy>(from: *const u8) -> T {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        // SAFETY: the helper fills the whole value, with zeros when the read fails; every T here is valid as zeros.
        unsafe {
            helpers::bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                from.cast(),
            );
            value.assume_init()
        }
    }

    #[inline(always)]
    unsafe fn read_16(from: *const u8) -> [u8; 16] {
        // SAFETY: as above.
        unsafe { Self::read(from) }
    }
}

/// A field that every supported kernel has: loading is refused without it.
#[inline(always)]
pub(crate) fn field<A: Access, T: Copy>(base: *const u8, offset: &Global<u32>) -> T {
    // SAFETY: userspace took the offset from this kernel's BTF for the structure that `base` points to.
    unsafe { A::read(base.wrapping_add(offset.load() as usize)) }
}

/// A field of 16 bytes that every supported kernel has.
#[inline(always)]
pub(crate) fn field_16<A: Access>(base: *const u8, offset: &Global<u32>) -> [u8; 16] {
    // SAFETY: as in `field`.
    unsafe { A::read_16(base.wrapping_add(offset.load() as usize)) }
}

/// A field that a kernel may lack: `None` without it, and for a NULL base.
#[inline(always)]
pub(crate) fn try_field<A: Access, T: Copy>(base: *const u8, offset: &Global<u32>) -> Option<T> {
    if offset.load() == ABSENT || base.is_null() {
        return None;
    }
    Some(field::<A, T>(base, offset))
}

/// A pointer field that a kernel may lack.
#[inline(always)]
pub(crate) fn pointer<A: Access>(base: *const u8, offset: &Global<u32>) -> Option<*const u8> {
    try_field::<A, *const u8>(base, offset).filter(|p| !p.is_null())
}

/// The running thread, as a number for [`Probe`] reads.
#[inline(always)]
pub(crate) fn current() -> *const u8 {
    // SAFETY: the helper has no preconditions.
    unsafe { helpers::bpf_get_current_task() as *const u8 }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { helpers::bpf_ktime_get_boot_ns() }
}
