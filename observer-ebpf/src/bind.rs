//! Family `bind`: a bind or a listen that failed, a process that begins to serve, and a listener that ended.
//!
//! Where BPF trampolines work, the programs are attached to the protocols' own functions, and see io_uring and 32-bit calls too.
//! Elsewhere they are attached to the exit of the two system calls, and take the arguments from the saved registers. The records
//! are the same.

use aya_ebpf::{
    helpers::generated as helpers,
    macros::{btf_tracepoint, fentry, fexit, tracepoint},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, TracePointContext},
};
use observer_common::{
    header::KIND_BIND,
    loss::{
        SLOT_BIND, SLOT_BIND_INET6, SLOT_BIND_MPTCP, SLOT_BIND_UNIX, SLOT_LISTEN,
        SLOT_LISTEN_MPTCP, SLOT_LISTEN_UNIX, SLOT_STOP,
    },
    offsets::ABSENT,
    socket::{BindRecord, CALL_BIND, CALL_LISTEN, CALL_STOP, SOCKADDR},
    task::{ARGS_MAX, TASK_PARENTS_ROOT, TaskRecord},
};

use crate::{
    fair,
    fields::{
        Access, Direct, FDT_FD, FDT_MAX, FILE_PRIVATE, FILES_FDT, ICSK_ULP, Probe, REGS_DI,
        REGS_DX, REGS_SI, SK_BACKLOG, SK_PEER_PORT, SK_PROTOCOL, SK_TYPE, SOCKET_FILE, SOCKET_SK,
        TASK_FILES, ULP_NAME, current, now, pointer, try_field,
    },
    maps::{PortRing, RefusalRing},
    refusal,
    scratch::Writer,
    socket::{
        AF_INET, AF_INET6, AF_UNIX, capture as capture_socket, family, inode, is_socket,
        unprivileged_port,
    },
    task::{capture, has_parents_root},
};

const SOCK_DGRAM: u16 = 2;
const IPPROTO_TCP: u16 = 6;

/// `sizeof(struct sockaddr_in6)`: read when [`SOCKADDR`] bytes can't be, since the address may lie at the end of a page.
const SHORT: u32 = 28;

/// Where the requested address lies, and its length.
#[derive(Clone, Copy)]
enum Asked {
    Kernel(*const u8, u32),
    User(u64, u32),
    Nothing,
}

/// `int inet_bind(struct socket *, struct sockaddr *, int)`: IPv4, net/ipv4/af_inet.c.
#[fexit(function = "inet_bind")]
pub(crate) fn bind_inet(ctx: FExitContext) -> i32 {
    bound(&ctx, SLOT_BIND)
}

/// The same for IPv6, net/ipv6/af_inet6.c.
#[fexit(function = "inet6_bind")]
pub(crate) fn bind_inet6(ctx: FExitContext) -> i32 {
    bound(&ctx, SLOT_BIND_INET6)
}

/// The same for unix sockets, net/unix/af_unix.c.
#[fexit(function = "unix_bind")]
pub(crate) fn bind_unix(ctx: FExitContext) -> i32 {
    bound(&ctx, SLOT_BIND_UNIX)
}

/// The same for MPTCP, net/mptcp/protocol.c.
#[fexit(function = "mptcp_bind")]
pub(crate) fn bind_mptcp(ctx: FExitContext) -> i32 {
    bound(&ctx, SLOT_BIND_MPTCP)
}

/// `int inet_listen(struct socket *, int)`: TCP, net/ipv4/af_inet.c.
#[fexit(function = "inet_listen")]
pub(crate) fn listen_inet(ctx: FExitContext) -> i32 {
    listened(&ctx, SLOT_LISTEN)
}

/// The same for unix sockets.
#[fexit(function = "unix_listen")]
pub(crate) fn listen_unix(ctx: FExitContext) -> i32 {
    listened(&ctx, SLOT_LISTEN_UNIX)
}

/// The same for MPTCP.
#[fexit(function = "mptcp_listen")]
pub(crate) fn listen_mptcp(ctx: FExitContext) -> i32 {
    listened(&ctx, SLOT_LISTEN_MPTCP)
}

/// `void inet_csk_listen_stop(struct sock *)`, net/ipv4/inet_connection_sock.c: once, when the last process that
/// shares the listener closes it.
#[fentry(function = "inet_csk_listen_stop")]
pub(crate) fn listen_stop(ctx: FEntryContext) -> i32 {
    stopped(ctx.arg(0));
    0
}

/// The same without function tracing: the end of any TCP socket (`tcp_v4_destroy_sock` in net/ipv4/tcp_ipv4.c, called by
/// `inet_csk_destroy_sock`). A listener has a backlog and no peer.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub(crate) fn listen_end(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    if try_field::<Direct, u16>(sk, &SK_PEER_PORT) == Some(0)
        && try_field::<Direct, u32>(sk, &SK_BACKLOG) != Some(0)
    {
        stopped(sk);
    }
    0
}

/// `syscalls:sys_exit_bind`: the result is at byte 16 of the record.
#[tracepoint(category = "syscalls", name = "sys_exit_bind")]
pub(crate) fn bind_exit(ctx: TracePointContext) -> i32 {
    let result = result(&ctx);
    if let Some((socket, address, len)) = call() {
        let asked = Asked::User(address, len);
        outcome(CALL_BIND, SLOT_BIND, socket, result, asked);
    }
    0
}

/// `syscalls:sys_exit_listen`.
#[tracepoint(category = "syscalls", name = "sys_exit_listen")]
pub(crate) fn listen_exit(ctx: TracePointContext) -> i32 {
    let result = result(&ctx);
    if let Some((socket, ..)) = call() {
        outcome(CALL_LISTEN, SLOT_LISTEN, socket, result, Asked::Nothing);
    }
    0
}

#[inline(always)]
fn bound(ctx: &FExitContext, slot: u32) -> i32 {
    let asked = Asked::Kernel(ctx.arg(1), ctx.arg::<u32>(2));
    outcome(CALL_BIND, slot, ctx.arg(0), ctx.arg::<i32>(3), asked);
    0
}

#[inline(always)]
fn listened(ctx: &FExitContext, slot: u32) -> i32 {
    outcome(CALL_LISTEN, slot, ctx.arg(0), ctx.arg::<i32>(2), Asked::Nothing);
    0
}

#[inline(always)]
fn result(ctx: &TracePointContext) -> i32 {
    // SAFETY: every `syscalls:sys_exit_*` record has its result there (kernel/trace/trace_syscalls.c).
    unsafe { ctx.read_at::<i64>(16) }.unwrap_or(0) as i32
}

/// The socket, address and length of the system call that returns, from its saved registers.
#[inline(always)]
fn call() -> Option<(*const u8, u64, u32)> {
    // SAFETY: the helpers have no preconditions; this program is loaded only where both exist. The verifier knows the types of
    // both pointers.
    let (task, regs) = unsafe {
        let task = helpers::bpf_get_current_task_btf();
        (task as *const u8, helpers::bpf_task_pt_regs(task) as *const u8)
    };
    let fd = try_field::<Direct, u64>(regs, &REGS_DI)? as u32;
    let address = try_field::<Direct, u64>(regs, &REGS_SI)?;
    let len = try_field::<Direct, u64>(regs, &REGS_DX)? as u32;
    let table = pointer::<Direct>(pointer::<Direct>(task, &TASK_FILES)?, &FILES_FDT)?;
    if fd >= try_field::<Direct, u32>(table, &FDT_MAX)? {
        return None;
    }
    let files = pointer::<Direct>(table, &FDT_FD)?;
    // SAFETY: the descriptor is below the table's size; the helper turns a bad read into 0.
    let file = unsafe { Probe::read::<*const u8>(files.wrapping_add(fd as usize * 8)) };
    if file.is_null() || !is_socket(file) {
        return None;
    }
    Some((pointer::<Probe>(file, &FILE_PRIVATE)?, address, len))
}

/// Reports failures always, and successes only when the process begins to serve: a listen, or the bind of a datagram socket to a
/// chosen port or name.
#[inline(always)]
fn outcome(call: u16, slot: u32, socket: *const u8, result: i32, asked: Asked) {
    let Some(sk) = pointer::<Probe>(socket, &SOCKET_SK) else { return };
    let family = family::<Probe>(sk);
    if family != AF_INET && family != AF_INET6 && family != AF_UNIX {
        return;
    }
    if result == 0 && call == CALL_BIND {
        let datagram = try_field::<Probe, u16>(sk, &SK_TYPE) == Some(SOCK_DGRAM);
        if !datagram || (family != AF_UNIX && asked_port(asked) == 0) {
            return;
        }
    }
    // The system calls know outer sockets only.
    if !matches!(asked, Asked::User(..)) && is_subflow(sk) {
        return;
    }
    let Some(writer) = Writer::start(slot) else { return };
    let record = begin(writer, call, result, asked);
    // SAFETY: `begin` has written what is asked for.
    if result != 0 && !unsafe { refusal::is_told(record, sk, family, result) } {
        return;
    }
    let inode = pointer::<Probe>(socket, &SOCKET_FILE).map_or(0, inode::<Probe>);
    report(writer, record, sk, inode);
}

/// Whether it is a TCP socket inside an MPTCP one: the outer socket is reported instead.
#[inline(always)]
fn is_subflow(sk: *const u8) -> bool {
    if ICSK_ULP.load() == ABSENT || try_field::<Probe, u16>(sk, &SK_PROTOCOL) != Some(IPPROTO_TCP) {
        return false;
    }
    pointer::<Probe>(sk, &ICSK_ULP)
        .and_then(|ops| try_field::<Probe, [u8; 5]>(ops, &ULP_NAME))
        .is_some_and(|name| name == *b"mptcp")
}

/// The requested port: `sin_port` and `sin6_port` have the same offset.
#[inline(always)]
fn asked_port(asked: Asked) -> u16 {
    let mut port = [0u8; 2];
    // SAFETY: both helpers check the address and fill two bytes.
    unsafe {
        match asked {
            Asked::Kernel(at, len) if len >= 4 => {
                helpers::bpf_probe_read_kernel(
                    (&raw mut port).cast(),
                    2,
                    at.wrapping_add(2).cast(),
                );
            }
            Asked::User(at, len) if len >= 4 => {
                helpers::bpf_probe_read_user((&raw mut port).cast(), 2, (at + 2) as *const _);
            }
            _ => {}
        }
    }
    u16::from_be_bytes(port)
}

#[inline(always)]
fn stopped(sk: *const u8) {
    let Some(writer) = Writer::start(SLOT_STOP) else { return };
    let record = begin(writer, CALL_STOP, 0, Asked::Nothing);
    report(writer, record, sk, 0);
}

/// Begins a record with what the call was.
#[inline(always)]
fn begin(writer: Writer, call: u16, result: i32, asked: Asked) -> *mut BindRecord {
    let record = writer.fixed::<BindRecord>();
    // SAFETY: `fixed` gave room for the record; its header is written by `submit`, everything else here or in `report`.
    unsafe {
        (*record).call = call;
        (*record).result = result;
        (*record).asked_len = read_asked(&raw mut (*record).asked, asked);
        (*record).key = refusal::NONE;
        (*record).counted = 0;
    }
    record
}

/// Completes the record that [`begin`] began, and submits it.
#[inline(always)]
fn report(writer: Writer, record: *mut BindRecord, sk: *const u8, inode: u64) {
    // SAFETY: as in `begin`.
    let result = unsafe {
        capture_socket::<Probe>(&raw mut (*record).socket, sk);
        (*record).socket.inode = inode;
        (*record).socket.unprivileged_port = unprivileged_port(sk);
        (*record).result
    };
    let process = writer.next();
    capture::<Probe>(writer, current(), ARGS_MAX);
    if result == 0 {
        fair::claim::<PortRing>(writer, current());
        writer.submit::<PortRing>(KIND_BIND, now());
        return;
    }
    if has_parents_root(current()) {
        // SAFETY: `capture` has written the record there.
        unsafe { (*writer.part::<TaskRecord>(process)).flags |= TASK_PARENTS_ROOT };
    }
    fair::claim::<RefusalRing>(writer, current());
    writer.submit::<RefusalRing>(KIND_BIND, now());
}

/// Copies the requested address; returns its length, 0 when it can't be read.
///
/// # Safety
/// `to` must have room for an address.
#[inline(always)]
unsafe fn read_asked(to: *mut [u8; SOCKADDR], asked: Asked) -> u16 {
    let clamp = |len: u32| if len > SOCKADDR as u32 { SOCKADDR as u32 } else { len };
    // SAFETY: the caller gave room; the helpers check the address.
    unsafe {
        match asked {
            Asked::Nothing => 0,
            Asked::Kernel(at, len) => {
                let failed = helpers::bpf_probe_read_kernel(to.cast(), SOCKADDR as u32, at.cast());
                if failed == 0 { clamp(len) as u16 } else { 0 }
            }
            Asked::User(at, len) => {
                let all = helpers::bpf_probe_read_user(to.cast(), SOCKADDR as u32, at as *const _);
                if all == 0 {
                    return clamp(len) as u16;
                }
                let short = helpers::bpf_probe_read_user(to.cast(), SHORT, at as *const _);
                if short == 0 && len <= SHORT {
                    return len as u16;
                }
                let four = helpers::bpf_probe_read_user(to.cast(), 16, at as *const _);
                if four == 0 && len <= 16 { len as u16 } else { 0 }
            }
        }
    }
}
