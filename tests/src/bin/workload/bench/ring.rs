//! A ring buffer of the kernel's (kernel/bpf/ringbuf.c), emptied without being read.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::hook::bpf;

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_TYPE_RINGBUF: u32 = 27;
/// As large as observer's.
const BYTES: u32 = 1 << 20;
const PAGE: usize = 4096;

/// What bpf(2) reads when it makes a map; what is not named here is 0.
#[repr(C)]
struct CreateMap {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

/// The map, and its two positions: the first pages of its mapping.
pub(super) struct Ring {
    fd: OwnedFd,
    /// How far we are: ours to write.
    consumer: NonNull<AtomicU64>,
    /// How far the kernel is.
    producer: NonNull<AtomicU64>,
}

impl Ring {
    pub(super) fn new() -> Result<Self, String> {
        let map = CreateMap {
            kind: BPF_MAP_TYPE_RINGBUF,
            key_size: 0,
            value_size: 0,
            entries: BYTES,
            flags: 0,
        };
        let fd = bpf(BPF_MAP_CREATE, &map)?;
        let raw = fd.try_into().map_err(|_large| "a descriptor that is none")?;
        // SAFETY: the kernel just gave it to us, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let consumer = page(&fd, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = page(&fd, libc::PROT_READ, 1)?;
        Ok(Self { fd, consumer, producer })
    }

    /// As a program names it.
    pub(super) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Whatever came is gone.
    pub(super) fn take_all(&self) {
        // SAFETY: both pages stay mapped for as long as the process lives, and the kernel uses both as atomic numbers.
        let (consumer, producer) = unsafe { (self.consumer.as_ref(), self.producer.as_ref()) };
        consumer.store(producer.load(Ordering::Acquire), Ordering::Release);
    }
}

fn page(fd: &OwnedFd, protection: i32, number: usize) -> Result<NonNull<AtomicU64>, String> {
    let offset = libc::off_t::try_from(number * PAGE).map_err(|why| why.to_string())?;
    let (flags, fd) = (libc::MAP_SHARED, fd.as_raw_fd());
    // SAFETY: a new mapping, wherever the kernel finds room.
    let at = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, fd, offset) };
    if at == libc::MAP_FAILED {
        return Err(format!("mmap: {}", io::Error::last_os_error()));
    }
    NonNull::new(at.cast()).ok_or_else(|| "mmap gave nothing".to_owned())
}
