//! Who holds which socket: one pass over every descriptor of every process, in all network namespaces.
//!
//! Runs only while somebody reads the iterator; nothing in the kernel passes through here.

use core::ffi::c_void;

use aya_ebpf::{bindings::seq_file, helpers::generated as helpers};
use observer_common::{
    loss::SLOT_HOLDERS,
    socket::{HolderRecord, STATE_CLOSE, STATE_LISTEN},
    task::{TASK_EXITING, TASK_FORKED},
};

use crate::{
    fields::{
        Direct, FILE_PRIVATE, Probe, SK_NUM, SK_STATE, SK_TYPE, SOCKET_SK, TASK_FLAGS, TASK_LEADER,
        TASK_PARENT, TASK_START, TASK_TGID, UNIX_ADDR, field, pointer, try_field,
    },
    maps::PORTS_WANTED,
    scratch::Writer,
    socket::{AF_INET, AF_INET6, AF_UNIX, capture, family, inode, is_socket},
    task::{PF_EXITING, PF_FORKNOEXEC, comm, uid},
};

const SOCK_DGRAM: u16 = 2;

/// `struct bpf_iter__task_file`.
#[repr(C)]
struct Context {
    meta: *const Meta,
    task: *const u8,
    fd: u32,
    file: *const u8,
}

/// `struct bpf_iter_meta`.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
fn holders(ctx: *mut c_void) -> i32 {
    // SAFETY: the kernel hands an iterator program this context; the last call has no task.
    let (seq, task, fd, file) = unsafe {
        let ctx = &*ctx.cast::<Context>();
        (core::ptr::read_volatile(&raw const (*ctx.meta).seq), ctx.task, ctx.fd, ctx.file)
    };
    if task.is_null() || file.is_null() || !is_socket(file) {
        return 0;
    }
    let Some(sk) =
        pointer::<Probe>(file, &FILE_PRIVATE).and_then(|s| pointer::<Probe>(s, &SOCKET_SK))
    else {
        return 0;
    };
    if wanted(sk) {
        write(seq, task, fd, file, sk);
    }
    0
}

/// Sockets that somebody may want to serve with, and every socket on a contested port.
#[inline(always)]
fn wanted(sk: *const u8) -> bool {
    let state = try_field::<Probe, u8>(sk, &SK_STATE).unwrap_or(0);
    let datagram = try_field::<Probe, u16>(sk, &SK_TYPE).unwrap_or(0) == SOCK_DGRAM;
    match family(sk) {
        AF_UNIX => {
            // An accepted connection has its listener's name; only the listener is in the way.
            pointer::<Probe>(sk, &UNIX_ADDR).is_some()
                && (datagram || state == STATE_LISTEN || state == STATE_CLOSE)
        }
        AF_INET | AF_INET6 => {
            let port = try_field::<Probe, u16>(sk, &SK_NUM).unwrap_or(0);
            port != 0
                && (datagram || state == STATE_LISTEN || state == STATE_CLOSE || contested(port))
        }
        _ => false,
    }
}

#[inline(always)]
fn contested(port: u16) -> bool {
    PORTS_WANTED.get(u32::from(port >> 6)).is_some_and(|word| (*word >> (port & 63)) & 1 != 0)
}

#[inline(always)]
fn write(seq: *mut seq_file, task: *const u8, fd: u32, file: *const u8, sk: *const u8) {
    let Some(writer) = Writer::start(SLOT_HOLDERS) else { return };
    let record = writer.fixed::<HolderRecord>();
    let leader: *const u8 = field::<Direct, _>(task, &TASK_LEADER);
    let parent: *const u8 = field::<Direct, _>(task, &TASK_PARENT);
    let task_flags: u32 = field::<Direct, _>(task, &TASK_FLAGS);
    let mut flags = 0;
    if task_flags & PF_FORKNOEXEC != 0 {
        flags |= TASK_FORKED;
    }
    if task_flags & PF_EXITING != 0 {
        flags |= TASK_EXITING;
    }
    // SAFETY: `fixed` gave room for the record, every field is written, and the helper copies exactly its size.
    unsafe {
        capture(&raw mut (*record).socket, sk);
        (*record).socket.inode = inode(file);
        (*record).start_time_ns = field::<Direct, _>(leader, &TASK_START);
        (*record).tgid = field::<Direct, _>(task, &TASK_TGID);
        (*record).fd = fd;
        (*record).ppid = field::<Direct, _>(parent, &TASK_TGID);
        (*record).uid = uid::<Direct>(task);
        (*record).flags = flags;
        (*record).reserved = 0;
        (*record).comm = comm::<Direct>(leader);
        helpers::bpf_seq_write(seq, record.cast(), size_of::<HolderRecord>() as u32);
    }
}
