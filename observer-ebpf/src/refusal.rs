//! Refusals that come again and again: the first of them are told, the others are counted.
//!
//! A crash loop or a loop of `bind` is refused the same thing up to 100,000 times a second. Userspace reads the counts at its
//! leisure, so a repeat costs it nothing, and it takes no room in the ring.
//!
//! **Bounded:** [`REFUSALS`](observer_common::socket::REFUSALS) keys; userspace removes those that are quiet. Of one key,
//! [`REFUSALS_TOLD`] records a second.

use core::arch::asm;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated as helpers};
use observer_common::socket::{
    BindRecord, CALL_BIND, REFUSALS_TOLD, REFUSALS_TOLD_OF_ONE, RefusalCount, RefusalKey, SOCKADDR,
};

use crate::{
    fields::{Probe, SK_NET, SK_PROTOCOL, now, try_field},
    maps::REFUSALS,
    socket::{AF_INET, AF_INET6, AF_UNIX, address, port},
};

const SECOND_NS: u64 = 1_000_000_000;

/// Completes `key` and `counted` of a refusal that is to be told. False: it was counted. `call` and what was asked for must be
/// written.
///
/// # Safety
/// `record` must point to a record.
#[inline(always)]
pub(crate) unsafe fn is_told(
    record: *mut BindRecord,
    sk: *const u8,
    family: u16,
    errno: i32,
) -> bool {
    // SAFETY: the caller gave a record.
    let key = unsafe { key(record, sk, family, errno) };
    let now_ns = now();
    // SAFETY: the helper has no preconditions.
    let tgid = unsafe { (helpers::bpf_get_current_pid_tgid() >> 32) as u32 };
    let Some(count) = REFUSALS.get_ptr_mut(key) else {
        let first = RefusalCount {
            counted: 0,
            last_ns: now_ns,
            second_ns: now_ns,
            told: 1,
            tgid,
            told_of_tgid: 1,
            reserved: 0,
        };
        // Without room for it, nothing is counted: this one says so by its empty key.
        let kept = REFUSALS.insert(key, first, BPF_NOEXIST.into()).is_ok();
        // SAFETY: as above.
        unsafe {
            if kept {
                (*record).key = key;
            }
        }
        return true;
    };
    // SAFETY: a value of the map. Two processors may tell one too many; `counted`, which must be exact, is changed atomically.
    unsafe {
        if now_ns.wrapping_sub((*count).second_ns) > SECOND_NS {
            (*count).second_ns = now_ns;
            (*count).told = 0;
            (*count).told_of_tgid = 0;
        }
        if (*count).tgid != tgid {
            (*count).tgid = tgid;
            (*count).told_of_tgid = 0;
        }
        if (*count).told >= REFUSALS_TOLD || (*count).told_of_tgid >= REFUSALS_TOLD_OF_ONE {
            (*count).last_ns = now_ns;
            add_one(&raw mut (*count).counted);
            return false;
        }
        (*count).told += 1;
        (*count).told_of_tgid += 1;
        (*record).key = key;
        (*record).counted = (*count).counted;
    }
    true
}

/// Adds 1 in one step. The core library has no such operation for this target, which has no compare-and-swap before Linux 5.12.
///
/// # Safety
/// `counter` must point into a value of a map, aligned.
#[inline(always)]
unsafe fn add_one(counter: *mut u64) {
    // SAFETY: one instruction, BPF_XADD, on memory that the caller vouches for.
    unsafe {
        asm!(
            "lock *(u64 *)({at} + 0) += {one}",
            at = in(reg) counter,
            one = in(reg) 1_u64,
            options(nostack)
        );
    }
}

/// Nothing is counted.
pub(crate) const NONE: RefusalKey = RefusalKey {
    address: [0; 2],
    cgroup: 0,
    net: 0,
    uid: 0,
    errno: 0,
    port: 0,
    family: 0,
    protocol: 0,
    call: 0,
    reserved: 0,
};

/// # Safety
/// As [`is_told`].
#[inline(always)]
unsafe fn key(record: *const BindRecord, sk: *const u8, family: u16, errno: i32) -> RefusalKey {
    let mut key = NONE;
    // SAFETY: the helpers have no preconditions.
    unsafe {
        key.cgroup = helpers::bpf_get_current_cgroup_id();
        key.uid = helpers::bpf_get_current_uid_gid() as u32;
    }
    key.net = try_field::<Probe, u64>(sk, &SK_NET).unwrap_or(0);
    key.protocol = try_field::<Probe, u16>(sk, &SK_PROTOCOL).unwrap_or(0);
    key.errno = -errno as u16;
    key.family = family;
    // SAFETY: the caller gave a record.
    let (call, asked, len) =
        unsafe { ((*record).call, (&raw const (*record).asked).cast::<u8>(), (*record).asked_len) };
    key.call = call;
    if call != CALL_BIND {
        // SAFETY: 16 bytes are two words, and any bytes are valid.
        key.address =
            unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(address::<Probe>(sk, family)) };
        key.port = if family == AF_UNIX { 0 } else { port::<Probe>(sk) };
    } else if family == AF_UNIX {
        // SAFETY: as above.
        key.address = [unsafe { hash(asked, len) }, len.into()];
    } else {
        // SAFETY: inside the address. Its bytes begin at a multiple of 4; what a shorter one lacks was left by somebody else,
        // and makes at worst another key.
        unsafe {
            key.port = u16::from_be(asked.add(2).cast::<u16>().read_unaligned());
            if family == AF_INET && len >= 8 {
                key.address[0] = asked.add(4).cast::<u32>().read_unaligned().into();
            } else if family == AF_INET6 && len >= 24 {
                key.address = [
                    asked.add(8).cast::<u64>().read_unaligned(),
                    asked.add(16).cast::<u64>().read_unaligned(),
                ];
            }
        }
    }
    key
}

/// A hash of the first `len` bytes of an address. Whoever makes two of his own names collide has them counted as one.
///
/// # Safety
/// `address` must point to [`SOCKADDR`] bytes.
#[inline(always)]
unsafe fn hash(address: *const u8, len: u16) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for at in 0..SOCKADDR / 8 {
        let begins = at * 8;
        if begins >= usize::from(len) {
            break;
        }
        // SAFETY: inside the address.
        let mut word = unsafe { address.add(begins).cast::<u64>().read_unaligned() };
        let used = usize::from(len) - begins;
        if used < 8 {
            word &= (1 << (used * 8)) - 1;
        }
        hash = (hash ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 32;
    }
    hash
}
