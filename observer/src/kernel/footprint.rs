//! What loading needed and watching does not.

use std::ffi::c_void;

/// Gives back what is free on the heap.
pub fn give_memory_back() {
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

/// What is freed is used again, or goes back to the kernel where it is large. The kernel's types are read three times at the
/// start, and fresh pages for them take longer than reading them.
pub(super) fn keep_memory(keep: bool) {
    const MIB: i32 = 1 << 20;
    let bytes = if keep { 64 * MIB } else { MIB / 8 };
    // SAFETY: mallopt has no preconditions.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, bytes);
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
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
