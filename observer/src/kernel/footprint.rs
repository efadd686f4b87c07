//! What loading needed and watching does not.

use std::ffi::c_void;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Gives back what is free on the heap.
pub fn give_memory_back() {
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

/// Room for the kernel's types while they are read: what is freed is used again, and comes in large pages.
///
/// They are parsed twice at the start. Small pages for them, thousands, take longer than reading them.
pub(super) struct Room {
    start: *mut c_void,
    bytes: usize,
}

const MIB: i32 = 1 << 20;

impl Room {
    /// The heap grows once, by all of it; where a limit forbids that, piece by piece.
    pub(super) fn new() -> Self {
        let start = heap_end();
        set(64 * MIB, 40 * MIB);
        // SAFETY: what it gives is given back, even if that is nothing. The compiler leaves out what nobody looks at.
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
        // SAFETY: of this process's heap, whose end only the C library moves; the advice changes no content.
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
    // SAFETY: 0 asks for the end, and moves nothing.
    unsafe { libc::sbrk(0) }
}

/// From which size on memory goes back to the kernel at once, and how much more the heap grows by than it must.
fn set(back: i32, more: i32) {
    // SAFETY: mallopt has no preconditions.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, back);
        libc::mallopt(libc::M_TRIM_THRESHOLD, back);
        libc::mallopt(libc::M_TOP_PAD, more);
    }
}

/// Calls `make` while no file can be opened; as it is where another thread may want one.
pub(super) fn without_files<T>(make: impl FnOnce() -> T) -> T {
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), ..limit };
    if !alone || setrlimit(Resource::Nofile, none).is_err() {
        return make();
    }
    let made = make();
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("can't set the limit of open files back: {error}");
    }
    made
}

/// Takes the pages of this program's file out of its memory: half of them served the start alone, the eBPF object among them.
/// What runs comes back from the page cache as it is needed.
pub(super) fn give_program_back() {
    // SAFETY: the callback does not keep what it is handed.
    unsafe { libc::dl_iterate_phdr(Some(of_object), std::ptr::null_mut()) };
}

/// The first object is the program itself; not 0 ends the walk.
unsafe extern "C" fn of_object(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> i32 {
    let page = rustix::param::page_size() as u64;
    // SAFETY: the C library hands over a description that lasts as long as the program, and so many headers.
    let (info, headers) = unsafe {
        let info = &*info;
        (info, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    // What can't be written is in memory what it is in the file; what the linker fills in is part of a segment that can.
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
