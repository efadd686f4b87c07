//! Keeps the service small: returns to the kernel the memory that only loading needed.

use std::ffi::c_void;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Returns free heap memory to the kernel.
pub fn give_memory_back() {
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

/// Heap for the kernel's types while they are parsed, grown at once and in huge pages.
///
/// The types are parsed twice at the start. Faulting in thousands of small pages takes longer than the parsing.
pub(super) struct Room {
    start: *mut c_void,
    bytes: usize,
}

const MIB: i32 = 1 << 20;

impl Room {
    /// Grows the heap once, by 40 MiB; where a limit forbids that, it grows piece by piece.
    pub(super) fn new() -> Self {
        let start = heap_end();
        set(64 * MIB, 40 * MIB);
        // SAFETY: `free` gets what `malloc` returned, or null. `black_box` keeps the compiler from removing the pair.
        unsafe { libc::free(std::hint::black_box(libc::malloc(1 << 20))) };
        set(64 * MIB, MIB / 8);
        let bytes = (heap_end() as usize).saturating_sub(start as usize);
        let room = Self { start, bytes };
        room.advise(libc::MADV_HUGEPAGE);
        room
    }

    fn advise(&self, advice: i32) {
        let page = rustix::param::page_size();
        let start = (self.start as usize).next_multiple_of(page);
        let end = self.start as usize + self.bytes;
        // SAFETY: the range is this process's heap, whose end only the C library moves; the advice changes no content.
        unsafe { libc::madvise(start as *mut c_void, end.saturating_sub(start), advice) };
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.advise(libc::MADV_NOHUGEPAGE);
        set(MIB / 8, MIB / 8);
        give_memory_back();
    }
}

fn heap_end() -> *mut c_void {
    // SAFETY: an increment of 0 only asks for the end.
    unsafe { libc::sbrk(0) }
}

/// Sets from which size on memory returns to the kernel at once (`back`), and how much extra the heap grows by (`more`).
fn set(back: i32, more: i32) {
    // SAFETY: mallopt has no preconditions.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, back);
        libc::mallopt(libc::M_TRIM_THRESHOLD, back);
        libc::mallopt(libc::M_TOP_PAD, more);
    }
}

/// Calls `make` while this process can open no file. With other threads, which may need one, just calls it.
pub(super) fn without_files<T>(make: impl FnOnce() -> T) -> T {
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), ..limit };
    if !alone || setrlimit(Resource::Nofile, none).is_err() {
        return make();
    }
    let made = make();
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("can't restore the limit on open files: {error}");
    }
    made
}

/// Drops the pages of this program's file from its memory: only the start needs half of them, such as the eBPF object.
/// The rest comes back from the page cache on demand.
pub(super) fn give_program_back() {
    // SAFETY: the callback does not keep its arguments.
    unsafe { libc::dl_iterate_phdr(Some(of_object), std::ptr::null_mut()) };
}

/// The first object is the program itself; a result other than 0 ends the walk.
unsafe extern "C" fn of_object(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> i32 {
    let page = rustix::param::page_size() as u64;
    // SAFETY: the C library's description lasts as long as the program, and has `dlpi_phnum` headers.
    let (info, headers) = unsafe {
        let info = &*info;
        (info, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    // Memory that can't be written equals the file; relocations are in writable segments.
    let is_of_the_file =
        |h: &&libc::Elf64_Phdr| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0;
    for header in headers.iter().filter(is_of_the_file) {
        let start = (info.dlpi_addr + header.p_vaddr).next_multiple_of(page);
        let end = (info.dlpi_addr + header.p_vaddr + header.p_memsz) / page * page;
        let bytes = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        // SAFETY: whole pages of a private mapping that nobody wrote to: the next access reads the file again.
        unsafe { libc::madvise(start as *mut c_void, bytes, libc::MADV_DONTNEED) };
    }
    1
}
