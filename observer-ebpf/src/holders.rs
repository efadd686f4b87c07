//! The scan: one pass over every descriptor of every process, in all network namespaces, for who holds which socket.
//!
//! It runs only while userspace reads the iterator, and is attached to no path of the kernel.

use core::ffi::c_void;

use aya_ebpf::{bindings::seq_file, helpers::generated as helpers};
use observer_common::{
    loss::SLOT_HOLDERS,
    socket::{HeldRecord, STATE_CLOSE, STATE_LISTEN},
    task::{TASK_EXITING, TASK_FORKED},
};

use crate::{
    fields::{
        Access, Direct, FILE_PRIVATE, Probe, SK_NUM, SK_STATE, SK_TYPE, SOCKET_SK, TASK_FLAGS,
        TASK_LEADER, TASK_PARENT, TASK_START, TASK_TGID, UNIX_ADDR, field, pointer, try_field,
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

/// The scan with typed pointers: every field of the socket is a plain load. Linux 5.11 and later.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
fn holders(ctx: *mut c_void) -> i32 {
    let Some((seq, task, fd, file)) = arguments(ctx) else { return 0 };
    // SAFETY: the iterator passes a file; the helper returns NULL for one that is not a socket.
    let socket = unsafe { helpers::bpf_sock_from_file(file.cast_mut().cast()) };
    if let Some(sk) = pointer::<Direct>(socket.cast_const().cast(), &SOCKET_SK)
        && wanted::<Direct>(sk)
    {
        write::<Direct>(seq, task, fd, file, sk);
    }
    0
}

/// The scan for kernels without `bpf_sock_from_file`: one probe a field.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
fn holders_by_probe(ctx: *mut c_void) -> i32 {
    let Some((seq, task, fd, file)) = arguments(ctx) else { return 0 };
    if is_socket(file)
        && let Some(socket) = pointer::<Probe>(file, &FILE_PRIVATE)
        && let Some(sk) = pointer::<Probe>(socket, &SOCKET_SK)
        && wanted::<Probe>(sk)
    {
        write::<Probe>(seq, task, fd, file, sk);
    }
    0
}

#[inline(always)]
fn arguments(ctx: *mut c_void) -> Option<(*mut seq_file, *const u8, u32, *const u8)> {
    // SAFETY: the kernel passes this context to an iterator program; in its last call there is no task.
    let (seq, task, fd, file) = unsafe {
        let ctx = &*ctx.cast::<Context>();
        (core::ptr::read_volatile(&raw const (*ctx.meta).seq), ctx.task, ctx.fd, ctx.file)
    };
    if task.is_null() || file.is_null() { None } else { Some((seq, task, fd, file)) }
}

/// Whether the scan reports it: sockets that serve or could, and every socket on a contested port.
#[inline(always)]
fn wanted<A: Access>(sk: *const u8) -> bool {
    let state = try_field::<A, u8>(sk, &SK_STATE).unwrap_or(0);
    let datagram = try_field::<A, u16>(sk, &SK_TYPE).unwrap_or(0) == SOCK_DGRAM;
    match family::<A>(sk) {
        AF_UNIX => {
            // An accepted connection has the name of its listener, but only the listener blocks a bind.
            (datagram || state == STATE_LISTEN || state == STATE_CLOSE)
                && pointer::<Probe>(sk, &UNIX_ADDR).is_some()
        }
        AF_INET | AF_INET6 => {
            let port = try_field::<A, u16>(sk, &SK_NUM).unwrap_or(0);
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
fn write<A: Access>(seq: *mut seq_file, task: *const u8, fd: u32, file: *const u8, sk: *const u8) {
    let Some(writer) = Writer::start(SLOT_HOLDERS) else { return };
    let record = writer.fixed::<HeldRecord>();
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
    // SAFETY: `fixed` gave room for the record, every field is written but an unused `name`, and the helper copies exactly
    // its size.
    unsafe {
        capture::<A>(&raw mut (*record).socket, sk);
        (*record).socket.inode = inode::<Direct>(file);
        (*record).holder.start_time_ns = field::<Direct, _>(leader, &TASK_START);
        (*record).holder.tgid = field::<Direct, _>(task, &TASK_TGID);
        (*record).holder.fd = fd;
        (*record).holder.ppid = field::<Direct, _>(parent, &TASK_TGID);
        (*record).holder.uid = uid::<Direct>(task);
        (*record).holder.flags = flags;
        (*record).holder.reserved = 0;
        (*record).holder.comm = comm::<Direct>(leader);
        helpers::bpf_seq_write(seq, record.cast(), size_of::<HeldRecord>() as u32);
    }
}
