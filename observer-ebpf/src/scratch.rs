//! Builds a record of variable length in the program's own memory, then submits it to a ring.
//!
//! The length is kept in the map and read back before each use. The compiler can't see through a volatile read, so it keeps the
//! mask that the verifier needs (kernels before 6.12 lose the bound of an offset that grows in a loop).
//!
//! **Bounded:** 12 KiB a program and processor.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::generated as helpers;
use observer_common::header::{ABI, Header};

use crate::{
    fair::{self, Claim},
    maps::{Ring, SCRATCH, count_lost},
};

/// Highest offset at which a segment may begin.
const START_MAX: u32 = 0x1fff;
/// Longest segment.
const SEGMENT_MAX: u32 = 0xfff;
/// Room for a segment of that length at that offset.
const BYTES: usize = 0x3000;

#[repr(C, align(8))]
pub(crate) struct Scratch {
    len: u32,
    chunk: u32,
    word: u64,
    claim: Claim,
    bytes: [u8; BYTES],
}

/// Appends to one slot of the scratch memory.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    scratch: *mut Scratch,
    slot: u32,
}

impl Writer {
    /// Starts an empty record in the slot of the calling program.
    #[inline(always)]
    pub(crate) fn start(slot: u32) -> Option<Self> {
        let writer = Self { scratch: SCRATCH.get_ptr_mut(slot)?, slot };
        writer.set_len(0);
        Some(writer)
    }

    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        // SAFETY: the map's value lives as long as the program and belongs to this program on this CPU.
        unsafe { read_volatile(&raw const (*self.scratch).len) }
    }

    #[inline(always)]
    fn set_len(self, len: u32) {
        // SAFETY: as in `len`.
        unsafe { write_volatile(&raw mut (*self.scratch).len, len) }
    }

    /// Removes what was appended after the first `len` bytes.
    #[inline(always)]
    pub(crate) fn cut(self, len: u32) {
        self.set_len(len);
    }

    /// Where the next byte goes, with room for [`SEGMENT_MAX`] bytes.
    #[inline(always)]
    fn end(self) -> *mut u8 {
        let at = (self.len() & START_MAX) as usize;
        // SAFETY: `at` is below 0x2000 and `bytes` has 0x3000.
        unsafe { (&raw mut (*self.scratch).bytes).cast::<u8>().add(at) }
    }

    /// Whether there is no room for another segment.
    #[inline(always)]
    pub(crate) fn full(self) -> bool {
        self.len() > START_MAX - 512
    }

    /// Appends a fixed part, aligned to 8 bytes; the caller must write every field.
    #[inline(always)]
    pub(crate) fn fixed<T>(self) -> *mut T {
        const { assert!(size_of::<T>() <= 1024 && align_of::<T>() <= 8) };
        let aligned = self.next();
        self.set_len(aligned);
        let at = (aligned & START_MAX & !7) as usize;
        self.set_len(aligned + size_of::<T>() as u32);
        // SAFETY: `at` is below 0x2000, a multiple of 8, and `bytes`, which is aligned to 8, has 0x3000.
        unsafe { (&raw mut (*self.scratch).bytes).cast::<u8>().add(at).cast() }
    }

    /// Where the next fixed part will begin.
    #[inline(always)]
    pub(crate) fn next(self) -> u32 {
        (self.len() + 7) & !7
    }

    /// A fixed part that was appended at this offset, which [`Self::next`] returned.
    #[inline(always)]
    pub(crate) fn part<T>(self, at: u32) -> *mut T {
        const { assert!(size_of::<T>() <= 1024 && align_of::<T>() <= 8) };
        let at = (at & START_MAX & !7) as usize;
        // SAFETY: as in `fixed`.
        unsafe { (&raw mut (*self.scratch).bytes).cast::<u8>().add(at).cast() }
    }

    /// The bytes from `start` on, whether they were written or not.
    #[inline(always)]
    pub(crate) fn since<const N: usize>(self, start: u32) -> *const [u8; N] {
        const { assert!(N <= SEGMENT_MAX as usize) };
        let at = (start & START_MAX) as usize;
        // SAFETY: as in `end`.
        unsafe { (&raw const (*self.scratch).bytes).cast::<u8>().add(at).cast() }
    }

    /// An address as a number to calculate with: the verifier forbids that as long as it knows that it is a pointer.
    #[inline(always)]
    pub(crate) fn number(self, pointer: *const u8) -> u64 {
        // SAFETY: as in `len`.
        unsafe {
            write_volatile(&raw mut (*self.scratch).word, pointer as u64);
            read_volatile(&raw const (*self.scratch).word)
        }
    }

    /// Whose share of a ring the record takes from.
    #[inline(always)]
    pub(crate) fn claim(self) -> *mut Claim {
        // SAFETY: a place inside the map's value.
        unsafe { &raw mut (*self.scratch).claim }
    }

    /// The slot of the calling program.
    #[inline(always)]
    pub(crate) fn slot(self) -> u32 {
        self.slot
    }

    /// Appends a NUL-terminated string of the kernel; returns its length with the NUL, 0 when it can't be read.
    #[inline(always)]
    pub(crate) fn kernel_str(self, from: *const u8) -> u32 {
        // SAFETY: `end` has room for 256 bytes; the helper checks `from` itself.
        let n = unsafe { helpers::bpf_probe_read_kernel_str(self.end().cast(), 256, from.cast()) };
        if n <= 0 {
            return 0;
        }
        self.set_len(self.len() + n as u32);
        n as u32
    }

    /// Appends `len` bytes of the current process's memory, half a page at a time, up to the first that is not in memory.
    /// Returns how many it appended.
    #[inline(always)]
    pub(crate) fn user_bytes(self, from: u64, len: u32) -> u32 {
        // Half a page at most: one read is then shorter than SEGMENT_MAX.
        const PIECE: u64 = 2048;
        let mut got = 0;
        for _ in 0..3 {
            let at = from + u64::from(got);
            let in_piece = (PIECE - (at & (PIECE - 1))) as u32;
            let left = len - got;
            let n = self.bound(if left < in_piece { left } else { in_piece });
            // SAFETY: `end` has room for SEGMENT_MAX bytes, which bounds `n`; the helper checks `at` itself.
            let failed =
                unsafe { helpers::bpf_probe_read_user(self.end().cast(), n, at as *const _) };
            if failed != 0 {
                break;
            }
            self.set_len(self.len() + n);
            got += n;
            if got >= len {
                break;
            }
        }
        got
    }

    /// Appends `len` bytes of a map's value, aligned to 8 bytes.
    #[inline(always)]
    pub(crate) fn kernel_bytes(self, from: *const u8, len: u32) {
        self.set_len(self.next());
        self.append(from, len);
    }

    /// Appends `len` bytes of a map's value.
    #[inline(always)]
    pub(crate) fn append(self, from: *const u8, len: u32) {
        let n = self.bound(len);
        // SAFETY: as in `user_bytes`.
        let failed = unsafe { helpers::bpf_probe_read_kernel(self.end().cast(), n, from.cast()) };
        if failed == 0 {
            self.set_len(self.len() + n);
        }
    }

    /// `n` with a bound that the verifier sees: at most SEGMENT_MAX.
    #[inline(always)]
    fn bound(self, n: u32) -> u32 {
        // SAFETY: as in `len`.
        unsafe {
            write_volatile(&raw mut (*self.scratch).chunk, n);
            read_volatile(&raw const (*self.scratch).chunk) & SEGMENT_MAX
        }
    }

    /// The bytes so far, for a copy into a map.
    #[inline(always)]
    pub(crate) fn bytes(self) -> *const u8 {
        // SAFETY: a place inside the map's value.
        unsafe { (&raw const (*self.scratch).bytes).cast() }
    }

    /// Writes eight zeros behind the record, so that its last word has no bytes of an earlier record.
    #[inline(always)]
    pub(crate) fn pad(self) {
        // SAFETY: `end` has room for more than eight bytes.
        unsafe { self.end().cast::<u64>().write_unaligned(0) };
    }

    /// Writes the header, with which the record begins, and submits the record; counts it as lost when the ring, or its share
    /// for this origin, is full. Returns whether the ring took it.
    #[inline(always)]
    pub(crate) fn submit<R: Ring>(self, kind: u16, time_ns: u64) -> bool {
        let len = self.len();
        let header = self.bytes().cast_mut().cast::<Header>();
        // SAFETY: `bytes` is aligned to 8 and large enough for a header.
        unsafe { header.write(Header { size: len, kind, abi: ABI, time_ns }) };
        let submitted = len <= BYTES as u32 && fair::admits::<R>(self, len) && {
            // SAFETY: inside `bytes`, which was zero from the start.
            let record = unsafe { core::slice::from_raw_parts(self.bytes(), len as usize) };
            R::map().output::<[u8]>(record, 0).is_ok()
        };
        if !submitted {
            count_lost(self.slot);
        }
        submitted
    }
}
