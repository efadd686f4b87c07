//! Bind and listen without the C library's calls: by io_uring, and by the system calls of 32-bit programs.

use std::arch::asm;
use std::mem::size_of;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_void, sockaddr_storage, socklen_t};

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[("knows-way", knows_way)];

/// How bind and listen are called. Each call returns 0 or a negative errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The C library's call.
    Call,
    /// `IORING_OP_BIND` and `IORING_OP_LISTEN`, since Linux 6.11.
    Uring,
    /// The system calls of a 32-bit program, by its interrupt, which a 64-bit program may use too.
    Ia32,
}

/// `knows-way by-uring|by-ia32`: exits with 0 where this kernel supports it. Without 32-bit support the interrupt is
/// a fault.
fn knows_way(mut args: Args) -> Outcome {
    match Way::of_flag(&args.text("by-uring|by-ia32")?) {
        Some(Way::Uring) => Ok(i32::from(!Ring::new()?.knows(OP_LISTEN)?)),
        // SAFETY: getpid takes no arguments.
        Some(Way::Ia32) => Ok(i32::from(unsafe { ia32(20, 0, 0, 0) } != sys::own_pid())),
        _ => Err("by-uring|by-ia32".to_owned()),
    }
}

impl Way {
    pub(crate) fn of_flag(flag: &str) -> Option<Self> {
        match flag {
            "by-uring" => Some(Self::Uring),
            "by-ia32" => Some(Self::Ia32),
            _ => None,
        }
    }

    pub(crate) fn bind(self, fd: c_int, address: &sockaddr_storage, len: socklen_t) -> c_int {
        match self {
            // SAFETY: the address is as long as said.
            Self::Call => result_of(unsafe { libc::bind(fd, ptr::from_ref(address).cast(), len) }),
            Self::Uring => Ring::new().map_or(-libc::ENOSYS, |ring| {
                // The length stands where other operations have an offset into a file.
                ring.submit(Entry {
                    opcode: OP_BIND,
                    fd,
                    off: len.into(),
                    addr: place(address),
                    ..Entry::EMPTY
                })
            }),
            Self::Ia32 => low_copy(address).map_or(-libc::ENOMEM, |low| {
                // SAFETY: the copy is as long as the original.
                unsafe { ia32(361, number(fd), low, len) }
            }),
        }
    }

    pub(crate) fn listen(self, fd: c_int, backlog: c_int) -> c_int {
        match self {
            // SAFETY: takes integers.
            Self::Call => result_of(unsafe { libc::listen(fd, backlog) }),
            Self::Uring => Ring::new().map_or(-libc::ENOSYS, |ring| {
                ring.submit(Entry { opcode: OP_LISTEN, fd, len: number(backlog), ..Entry::EMPTY })
            }),
            // SAFETY: takes integers.
            Self::Ia32 => unsafe { ia32(363, number(fd), number(backlog), 0) },
        }
    }
}

fn result_of(result: c_int) -> c_int {
    if result == 0 { 0 } else { -sys::errno() }
}

fn number(n: c_int) -> u32 {
    n.cast_unsigned()
}

fn place(address: &sockaddr_storage) -> u64 {
    ptr::from_ref(address).addr() as u64
}

/// A copy that a 32-bit pointer can name; it stays until the process ends.
fn low_copy(address: &sockaddr_storage) -> Option<u32> {
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
    );
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: a page is larger, and aligned for everything.
    unsafe { start.cast::<sockaddr_storage>().write(*address) };
    u32::try_from(start.addr()).ok()
}

/// # Safety
/// As for the system call with that number of 32-bit x86.
unsafe fn ia32(call: u32, first: u32, second: u32, third: u32) -> c_int {
    let result: c_int;
    // SAFETY: the caller's promise. LLVM keeps rbx for itself, so it is put back; older kernels clear r8 to r11.
    unsafe {
        asm!(
            "xchg {first:r}, rbx",
            "int 0x80",
            "xchg {first:r}, rbx",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") call.cast_signed() => result,
            in("ecx") second,
            in("edx") third,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    result
}

const OP_BIND: u8 = 56;
const OP_LISTEN: u8 = 57;
const SETUP_ENTRIES: u32 = 1;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_PROBE: u32 = 8;
const OFFSET_SQES: i64 = 0x1000_0000;
/// Both rings lie in one mapping: Linux 5.4.
const FEATURE_ONE_MAPPING: u32 = 1;

/// `struct io_uring_params` (include/uapi/linux/io_uring.h): sizes, then where things are in the mapping.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    /// head, tail, mask, entries, flags, dropped, array, …
    sq: [u32; 10],
    /// head, tail, mask, entries, overflow, entries' place, …
    cq: [u32; 10],
}

/// `struct io_uring_sqe`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: c_int,
    off: u64,
    addr: u64,
    len: u32,
    more_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

impl Entry {
    const EMPTY: Self = Self {
        opcode: 0,
        flags: 0,
        priority: 0,
        fd: -1,
        off: 0,
        addr: 0,
        len: 0,
        more_flags: 0,
        user_data: 0,
        rest: [0; 3],
    };
}

/// A ring for one request, which ends with the process.
struct Ring {
    fd: c_int,
    rings: *mut c_void,
    entries: *mut Entry,
    params: Params,
}

impl Ring {
    fn new() -> Result<Self, String> {
        let mut params = Params::default();
        // SAFETY: the parameters are as large as the kernel's.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, SETUP_ENTRIES, &raw mut params) };
        let fd = sys::check("io_uring_setup", c_int::try_from(fd).unwrap_or(-1))?;
        if params.features & FEATURE_ONE_MAPPING == 0 {
            return Err("the rings lie in two mappings".to_owned());
        }
        let submissions = params.sq[6] + params.sq_entries * 4;
        let completions = params.cq[5] + params.cq_entries * 16;
        let rings = map(fd, submissions.max(completions) as usize, 0)?;
        let entries = map(fd, size_of::<Entry>() * params.sq_entries as usize, OFFSET_SQES)?;
        Ok(Self { fd, rings, entries: entries.cast(), params })
    }

    /// Whether the kernel has that operation.
    fn knows(&self, opcode: u8) -> Result<bool, String> {
        // A head of 16 bytes with the last operation first, then 8 bytes for each that there is room for.
        let mut probe = [0_u64; 2 + 256];
        // SAFETY: there is room for 256 operations.
        let done = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.fd,
                REGISTER_PROBE,
                probe.as_mut_ptr(),
                256,
            )
        };
        sys::check("io_uring_register", c_int::try_from(done).unwrap_or(-1))?;
        Ok(probe[0].to_ne_bytes()[0] >= opcode)
    }

    /// Hands over one request, waits for it, and gives its result.
    fn submit(&self, entry: Entry) -> c_int {
        let at = |offset: u32| self.rings.wrapping_byte_add(offset as usize);
        // SAFETY: both mappings are as large as the kernel said, and nobody else submits; the indices are the kernel's
        // to read once they are released.
        unsafe {
            self.entries.write(entry);
            at(self.params.sq[6]).cast::<u32>().write(0);
            let tail = &*at(self.params.sq[1]).cast::<AtomicU32>();
            tail.fetch_add(1, Ordering::Release);
        }
        let no_mask = ptr::null::<c_void>();
        // SAFETY: takes integers and no signal mask.
        let done = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.fd, 1, 1, ENTER_GETEVENTS, no_mask, 0)
        };
        if done != 1 {
            return -sys::errno();
        }
        // SAFETY: one request was made and one has ended: the first completion is there.
        unsafe {
            let tail = &*at(self.params.cq[1]).cast::<AtomicU32>();
            if tail.load(Ordering::Acquire) == 0 {
                return -libc::EAGAIN;
            }
            at(self.params.cq[5]).wrapping_byte_add(8).cast::<c_int>().read()
        }
    }
}

fn map(fd: c_int, length: usize, offset: i64) -> Result<*mut c_void, String> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, fd, offset) };
    let failed = start == libc::MAP_FAILED;
    if failed { Err(format!("mmap: {}", std::io::Error::last_os_error())) } else { Ok(start) }
}
