//! Counts that outlive the run, in memory behind a descriptor that the service manager keeps: what a run had in hand when it was
//! killed, which losses it had told, and the patterns of deaths that it had been sent.
//!
//! **Invariant:** a record is counted before it leaves its ring. A run that is killed at any moment has counted one too many at
//! most, and never one too few.
//!
//! **Bounded:** 512 bytes, and 1 KiB for each of the [`PLACES`] patterns of a processor; a page of it takes memory once it is used.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    ptr, slice,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::util::nr_cpus;
use bytes::Bytes;
use observer_common::{exit::PATTERN_PLACE_BITS, loss::SLOTS};
use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap},
};

use crate::decode::pattern_id;

/// The first word: another layout of the ledger has another one.
const FORMAT: u64 = 0x6f62_7365_7276_0001;
/// Words at the beginning, and which of them is what.
const HEAD: usize = 64;
const TAKEN: usize = 1;
const SETTLED: usize = 2;
const FIRST_SEQ: usize = 3;
const SEQ: usize = 4;
const READ_NS: usize = 5;
const REFUSALS: usize = 6;
const TOLD: usize = 8;
/// Words of a pattern: its id and length, then its record.
const SLOT: usize = 128;
/// Patterns of a processor on the kernel side; a pattern in a place beyond is not kept.
const PLACES: usize = 16;
const PLACES_IN_ALL: usize = 1 << PATTERN_PLACE_BITS;

const _: () = assert!(TOLD + SLOTS as usize <= HEAD);

/// The ledger of this run.
pub struct Ledger {
    file: OwnedFd,
    /// Mapped until the process ends.
    words: &'static [AtomicU64],
}

impl Ledger {
    /// A new one.
    pub fn create() -> io::Result<Self> {
        let processors = nr_cpus().map_err(|(_, error)| error)?;
        Self::for_places((processors * PLACES).min(PLACES_IN_ALL))
    }

    fn for_places(places: usize) -> io::Result<Self> {
        let len = HEAD + places * SLOT;
        let bytes = len * size_of::<u64>();
        let flags = MemfdFlags::CLOEXEC;
        // Kernels before 6.3 don't know the second flag, later ones warn without it.
        let file = memfd_create("observer", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_unknown| memfd_create("observer", flags))?;
        ftruncate(&file, bytes as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, anywhere, of a file of this size, which nobody cuts: only this process and the service manager
        // have it.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, &file, 0) }?;
        // SAFETY: the mapping begins with a page, has `len` words of zeros, and is never unmapped; all access is atomic.
        let words = unsafe { slice::from_raw_parts(start.cast::<AtomicU64>(), len) };
        words[0].store(FORMAT, Ordering::Relaxed);
        Ok(Self { file, words })
    }

    /// Counts a record that is about to leave its ring, and keeps it if later ones may refer to it.
    pub fn take(&self, record: &[u8]) {
        self.take_over(1);
        if let Some(id) = pattern_id(record) {
            self.keep(id, record);
        }
    }

    /// Counts records that an earlier run left.
    pub fn take_over(&self, records: u64) {
        // Nobody else writes: a load and a store do, and cost less than a locked addition.
        let taken = self.words[TAKEN].load(Ordering::Relaxed);
        self.words[TAKEN].store(taken.wrapping_add(records), Ordering::Relaxed);
    }

    fn keep(&self, id: u32, record: &[u8]) {
        let place = id as usize % PLACES_IN_ALL;
        let Some(slot) = self.words[HEAD..].chunks_exact(SLOT).nth(place) else { return };
        if record.len() > (SLOT - 1) * size_of::<u64>() {
            return;
        }
        // Without an id while it is written. Whoever is killed here leaves the record in its ring.
        slot[0].store(0, Ordering::Relaxed);
        for (word, bytes) in slot[1..].iter().zip(record.chunks(size_of::<u64>())) {
            let mut whole = [0; size_of::<u64>()];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        slot[0].store(u64::from(id) << 32 | record.len() as u64, Ordering::Release);
    }

    /// The first number that this run gives; nothing was read before.
    pub fn begin(&self, seq: u64, now_ns: u64) {
        self.words[READ_NS].store(now_ns, Ordering::Relaxed);
        self.words[FIRST_SEQ].store(seq, Ordering::Relaxed);
        self.words[SEQ].store(seq, Ordering::Relaxed);
    }

    /// All that was taken is stored or was given to the store as events up to `seq`, but for `waiting` records; the losses up
    /// to these counts are told, and so many of the refusals that are counted.
    pub fn settle(
        &self,
        waiting: u64,
        seq: u64,
        now_ns: u64,
        told: &[u64; SLOTS as usize],
        refusals: u64,
    ) {
        self.words[REFUSALS].store(refusals, Ordering::Relaxed);
        let taken = self.words[TAKEN].load(Ordering::Relaxed);
        self.words[SEQ].store(seq, Ordering::Relaxed);
        self.words[SETTLED].store(taken.saturating_sub(waiting), Ordering::Relaxed);
        self.words[READ_NS].store(now_ns, Ordering::Relaxed);
        for (word, told) in self.words[TOLD..].iter().zip(told) {
            word.store(*told, Ordering::Relaxed);
        }
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What an earlier run wrote down.
#[derive(Debug)]
pub struct LeftLedger(Vec<u64>);

impl LeftLedger {
    /// Reads it; `None` if this is none, or one of another layout.
    #[must_use]
    pub fn read(file: OwnedFd) -> Option<Self> {
        let file = File::from(file);
        let len = usize::try_from(file.metadata().ok()?.len()).ok()? / size_of::<u64>();
        if !(HEAD..=HEAD + PLACES_IN_ALL * SLOT).contains(&len) {
            return None;
        }
        let mut bytes = vec![0; len * size_of::<u64>()];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (words, _) = bytes.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        (words[0] == FORMAT).then_some(Self(words))
    }

    /// How many records it had taken out of the rings that were neither events yet nor left out; at most.
    #[must_use]
    pub fn in_hand(&self) -> u64 {
        self.0[TAKEN].saturating_sub(self.0[SETTLED])
    }

    /// The first and the last number of the events that it gave to the store.
    #[must_use]
    pub fn numbers(&self) -> (u64, u64) {
        (self.0[FIRST_SEQ], self.0[SEQ])
    }

    /// When it had read all of its rings last, in nanoseconds of `CLOCK_BOOTTIME`; 0 for never.
    #[must_use]
    pub fn read_ns(&self) -> u64 {
        self.0[READ_NS]
    }

    /// Which losses it had told, a count for each slot.
    #[must_use]
    pub fn told(&self) -> &[u64] {
        &self.0[TOLD..TOLD + SLOTS as usize]
    }

    /// How many of the refusals that are counted it had told.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.0[REFUSALS]
    }

    /// The records that later ones refer to.
    #[must_use]
    pub fn patterns(&self) -> Vec<Bytes> {
        let whole = |slot: &[u64]| {
            let bytes: Vec<u8> = slot[1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
            let len = usize::try_from(slot[0] & u64::from(u32::MAX)).ok()?;
            (slot[0] >> 32 != 0).then(|| bytes.get(..len).map(Bytes::copy_from_slice))?
        };
        self.0[HEAD..].chunks_exact(SLOT).filter_map(whole).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::samples::{exit, exit_bytes};

    fn left(ledger: &Ledger) -> LeftLedger {
        let file = ledger.as_fd().try_clone_to_owned().expect("a descriptor");
        LeftLedger::read(file).expect("a ledger")
    }

    fn pattern(pid: u32, id: u32) -> Bytes {
        let mut death = exit(pid, 0x100);
        death.record.pattern = id;
        exit_bytes(&death)
    }

    #[test]
    fn what_was_in_hand_is_left() {
        let ledger = Ledger::create().expect("memory");
        ledger.begin(7, 3);
        for pid in 1..=5 {
            ledger.take(&exit_bytes(&exit(pid, 9)));
        }
        assert_eq!((left(&ledger).in_hand(), left(&ledger).read_ns()), (5, 3));
        let mut told = [0; SLOTS as usize];
        told[3] = 8;
        ledger.settle(2, 9, 77, &told, 4);
        let left = left(&ledger);
        assert_eq!((left.in_hand(), left.numbers(), left.read_ns()), (2, (7, 9), 77));
        assert_eq!(left.refusals(), 4);
        assert_eq!((left.told().len(), left.told()[3]), (SLOTS as usize, 8));
        assert!(left.patterns().is_empty());
    }

    #[test]
    fn the_last_pattern_of_a_place_is_left_and_none_beyond_the_last_place() {
        let ledger = Ledger::for_places(4).expect("memory");
        for (pid, id) in [(20, 0x1_0003), (21, 0x1_0001), (22, 0x2_0003), (23, 0x1_0004)] {
            ledger.take(&pattern(pid, id));
        }
        assert_eq!(left(&ledger).patterns(), [pattern(21, 0x1_0001), pattern(22, 0x2_0003)]);
    }

    #[test]
    fn other_files_are_no_ledger() {
        for bytes in [0, 100, 4096, 1 << 20] {
            let file = memfd_create("other", MemfdFlags::CLOEXEC).expect("memory");
            ftruncate(&file, bytes).expect("room");
            assert!(LeftLedger::read(file).is_none());
        }
    }
}
