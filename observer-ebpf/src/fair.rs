//! Fair rings: when a ring fills, whoever filled it loses first.
//!
//! A record is taken if what its origin has outstanding, the record included, is at most what is free, or `TIMES` as much: a
//! dynamic threshold, as switches have for the buffers of their ports (Choudhury and Hahne, 1998). One origin alone may fill a
//! ring to `TIMES / (TIMES + 1)`; what is left, and what is read meanwhile, is for the others. The last sixteenth of a ring counts
//! as free only for those who have little in it: so several storms together leave room too.
//!
//! While a ring is less than a sixteenth full nobody is counted, and nothing costs more than one question to the ring. Two
//! processors may count for one origin at once; what gets lost so is a few records of its share.
//!
//! **Bounded:** [`SHARE_PLACES`] origins. Whoever is pushed out of the map begins anew, as if it had nothing outstanding.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_CONS_POS};

use crate::{
    maps::{Ring, SHARES},
    origin::Origin,
    scratch::Writer,
};

/// Most origins that are counted at a time.
pub(crate) const SHARE_PLACES: u32 = 512;
/// A ring is crowded from this part on.
const CROWDED: u64 = 16;
/// This part of a ring is for origins that have at most the [`LITTLE`]th part outstanding.
const RESERVE: u64 = 16;
const LITTLE: u64 = 64;
/// The kernel's header of a record (`BPF_RINGBUF_HDR_SZ`).
const RING_HEADER: u64 = 8;

/// Whose share, of which ring.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ShareKey {
    group: u64,
    user: u32,
    ring: u32,
}

/// What an origin has outstanding: so many bytes between two positions of the ring.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Share {
    start: u64,
    end: u64,
    bytes: u64,
}

/// Whose share the next record takes from. It lies in scratch memory: of values on the stack the verifier would follow both ways
/// through all that comes after, which is more than Linux 5.10 allows.
#[repr(C)]
pub(crate) struct Claim {
    group: u64,
    user: u32,
    is_counted: u32,
}

impl Claim {
    /// Makes it the claim of a task's origin to a ring. The walk to the origin is made only when it counts.
    #[inline(always)]
    fn fill<R: Ring>(claim: *mut Self, task: *const u8) {
        let is_counted = is_crowded::<R>();
        if is_counted {
            let Origin { group, user } = Origin::of(task);
            // SAFETY: scratch memory of the calling program.
            unsafe {
                write_volatile(&raw mut (*claim).group, group);
                write_volatile(&raw mut (*claim).user, user);
            }
        }
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut (*claim).is_counted, u32::from(is_counted)) };
    }

    /// Whether the ring takes a record of `len` bytes, which counts from then on.
    #[inline(always)]
    fn admits<R: Ring>(claim: *const Self, len: u32) -> bool {
        // SAFETY: scratch memory of the calling program, which `fill` has filled.
        let (key, is_counted) = unsafe {
            let group = read_volatile(&raw const (*claim).group);
            let user = read_volatile(&raw const (*claim).user);
            (ShareKey { group, user, ring: R::ID }, read_volatile(&raw const (*claim).is_counted))
        };
        if is_counted == 0 {
            return true;
        }
        let ring = R::map();
        let used = ring.query(BPF_RB_AVAIL_DATA.into());
        let read = ring.query(BPF_RB_CONS_POS.into());
        let written = read + used;
        let len = (u64::from(len) + RING_HEADER + 7) & !7;
        let Some(share) = SHARES.get_ptr_mut(key) else {
            let share = Share { start: written, end: written + len, bytes: len };
            let _ = SHARES.insert(key, share, 0);
            return true;
        };
        // SAFETY: a value of the map, of plain numbers; its races are in the first comment.
        unsafe {
            let (mut start, end, mut bytes) = ((*share).start, (*share).end, (*share).bytes);
            if read >= end {
                (start, bytes) = (written, 0);
            } else if read > start {
                // As if its records lay evenly between the two positions.
                bytes -= bytes * (read - start) / (end - start);
                start = read;
            }
            let taken = used + R::BYTES / RESERVE;
            let free = R::BYTES.saturating_sub(taken);
            let admitted = bytes + len <= R::BYTES / LITTLE || bytes + len <= free * R::TIMES;
            (*share).start = start;
            (*share).bytes = if admitted { bytes + len } else { bytes };
            if admitted {
                (*share).end = written + len;
            }
            admitted
        }
    }
}

/// Whether a ring is so full that shares count.
#[inline(always)]
fn is_crowded<R: Ring>() -> bool {
    R::map().query(BPF_RB_AVAIL_DATA.into()) >= R::BYTES / CROWDED
}

/// The record of `writer` will take from the share of that task's origin.
#[inline(always)]
pub(crate) fn claim<R: Ring>(writer: Writer, task: *const u8) {
    Claim::fill::<R>(writer.claim(), task);
}

/// Whether the ring takes a record of `len` bytes, which counts from then on.
#[inline(always)]
pub(crate) fn admits<R: Ring>(writer: Writer, len: u32) -> bool {
    Claim::admits::<R>(writer.claim(), len)
}
