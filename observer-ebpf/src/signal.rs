//! Family `signal`: who sent a signal that may end a process. The note stays in a map until the process ends, and goes to
//! userspace with its exit record.
//!
//! `trace_signal_generate` (kernel/signal.c, `__send_signal_locked`) runs in the sender's context under the target's siglock with
//! interrupts off, so that nothing preempts this program. The sender is the running thread, not the one in siginfo, which kill(2)
//! no longer fills on the newest kernels.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use observer_common::{
    loss::SLOT_SIGNAL,
    signal::{
        CLASS_KILL, CLASS_OTHER, CLASS_REQUEST, NOTE_HANDLED, NOTE_IGNORED, NOTE_NO_INFO,
        NOTE_SENDER_EXITING, NOTE_SENDER_NS_INIT, NOTE_TO_THREAD, NOTE_TRACED, NoteKey,
        ORIGIN_FAULT, ORIGIN_KERNEL, ORIGIN_TIMER, ORIGIN_USER, SENDER_BYTES, Sender, SenderKey,
        SignalNote,
    },
    task::{OTHER_ARGS_MAX, TASK_CGROUP_CUT, TASK_NO_ARGS, TaskRecord},
};

use crate::{
    fields::{
        Access, Direct, Probe, SIGHAND_ACTION, TASK_FLAGS, TASK_LEADER, TASK_SIGHAND, TASK_START,
        TASK_TGID, current, field, now, pointer, try_field,
    },
    maps::{NOTES, SENDERS, count_lost, mark_noted},
    scratch::Writer,
    task::{PF_EXITING, PF_KTHREAD, capture, comm, is_traced},
};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGALRM: i32 = 14;
const SIGTERM: i32 = 15;
const SIGPROF: i32 = 27;

/// Bit n - 1 for each signal n that ends a process by default: all but SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
/// SIGURG and SIGWINCH.
const ENDING: u64 =
    !(1 << 16 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 27);

/// The same for the signals of faults: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV and SIGSYS.
const FAULTS: u64 = 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 30;

/// How long the handler of a fault may take to write its report, in nanoseconds.
const RAISED_AGAIN_NS: u64 = 10_000_000_000;

/// Size of `struct k_sigaction` on x86-64, which begins with the handler.
const SIGACTION_BYTES: usize = 32;
const SIG_IGN: u64 = 1;

/// Results of `trace_signal_generate`, include/trace/events/signal.h.
const DELIVERED: i32 = 0;
const IGNORED: i32 = 1;
const LOSE_INFO: i32 = 4;

/// `si_code` of signals that a process asked the kernel for (uapi/asm-generic/siginfo.h): from a timer, a message queue or
/// finished I/O, perhaps in an interrupt. The running thread did not send them. SI_QUEUE (-1), SI_TKILL (-6), SI_ASYNCNL (-60)
/// and all others below 0 come from a system call of the running thread.
const SI_TIMER: i32 = -2;
const SI_MESGQ: i32 = -3;
const SI_ASYNCIO: i32 = -4;
const SI_SIGIO: i32 = -5;
/// A memory error that the kernel found later, perhaps in another thread.
const BUS_MCEERR_AO: i32 = 5;
const SIGBUS: i32 = 7;

/// Offsets in `struct kernel_siginfo`, whose layout is ABI.
const SI_CODE: usize = 8;
const SI_ADDR: usize = 16;

#[btf_tracepoint(function = "signal_generate")]
pub(crate) fn signal(ctx: BtfTracePointContext) -> i32 {
    let signal: i32 = ctx.arg(0);
    if !(1..=64).contains(&signal) || (ENDING >> (signal - 1)) & 1 == 0 {
        return 0;
    }
    // All arguments are read here: the verifier wants constant offsets from the context.
    let info: *const u8 = ctx.arg(1);
    let target: *const u8 = ctx.arg(2);
    let group: i32 = ctx.arg(3);
    let result: i32 = ctx.arg(4);
    let request = matches!(signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM);
    if result != DELIVERED && result != LOSE_INFO && !(result == IGNORED && request) {
        return 0;
    }
    if !request && signal != SIGKILL && is_handled(target, signal) && !is_fault(signal, info) {
        return 0;
    }
    note(&Signal { number: signal, info, target, to_thread: group == 0, result, request });
    0
}

/// A signal that may end its target.
struct Signal {
    number: i32,
    info: *const u8,
    target: *const u8,
    to_thread: bool,
    result: i32,
    /// A request to stop, which a process may handle.
    request: bool,
}

/// Whether the target has a handler for it, and so lives on. Programs that use signals as timers get thousands of them.
#[inline(always)]
fn is_handled(target: *const u8, signal: i32) -> bool {
    let Some(hand) = pointer::<Direct>(target, &TASK_SIGHAND) else { return false };
    let action = |n: i32| hand.wrapping_add((n - 1) as usize * SIGACTION_BYTES);
    // A typed pointer takes constant offsets only; the signals that programs use as timers are worth a branch each.
    let handler = match signal {
        SIGUSR1 => try_field::<Direct, u64>(action(SIGUSR1), &SIGHAND_ACTION),
        SIGUSR2 => try_field::<Direct, u64>(action(SIGUSR2), &SIGHAND_ACTION),
        SIGALRM => try_field::<Direct, u64>(action(SIGALRM), &SIGHAND_ACTION),
        SIGPROF => try_field::<Direct, u64>(action(SIGPROF), &SIGHAND_ACTION),
        _ => try_field::<Probe, u64>(action(signal), &SIGHAND_ACTION),
    };
    handler.is_some_and(|handler| handler > SIG_IGN)
}

/// Whether the kernel sent it for a fault of the target, whose handler may then end the process.
#[inline(always)]
fn is_fault(signal: i32, info: *const u8) -> bool {
    match info as u64 {
        0 => false,
        1 => true,
        _ => (FAULTS >> (signal - 1)) & 1 != 0 && code(info) > 0,
    }
}

#[inline(always)]
fn note(sent: &Signal) {
    let Signal { number: signal, info, target, to_thread, result, request } = *sent;
    let sender = current();
    let target_tgid: u32 = field::<Direct, _>(target, &TASK_TGID);
    let target_leader: *const u8 = field::<Direct, _>(target, &TASK_LEADER);
    let target_start: u64 = field::<Direct, _>(target_leader, &TASK_START);
    let sender_tgid: u32 = field::<Probe, _>(sender, &TASK_TGID);
    let own = sender_tgid == target_tgid;
    if own && result == IGNORED {
        return;
    }
    let class = match signal {
        SIGKILL => CLASS_KILL,
        _ if request && !own => CLASS_REQUEST,
        _ => CLASS_OTHER,
    };
    let key = NoteKey { tgid: target_tgid, class };
    if class == CLASS_KILL {
        // SAFETY: the value is only compared; at worst, a torn read keeps the later SIGKILL.
        if let Some(earlier) = unsafe { NOTES.get(key) }
            && earlier.target_start_ns == target_start
        {
            return;
        }
    }

    if class == CLASS_OTHER && own {
        // A crash reporter handles the fault, then sends itself the same signal to die of it: keep the note of the fault.
        // SAFETY: the value is only compared.
        if let Some(earlier) = unsafe { NOTES.get(key) }
            && earlier.target_start_ns == target_start
            && earlier.origin == ORIGIN_FAULT
            && earlier.signal == signal as u32
            && now() - earlier.time_ns < RAISED_AGAIN_NS
        {
            return;
        }
    }

    let info = Info::read(info, signal, own);
    let mut flags = info.flags;
    if is_traced::<Direct>(target) {
        flags |= NOTE_TRACED;
    }
    if request && is_handled(target, signal) {
        flags |= NOTE_HANDLED;
    }
    if result == IGNORED {
        flags |= NOTE_IGNORED;
    }
    if to_thread {
        flags |= NOTE_TO_THREAD;
    }
    let sender_flags: u32 = field::<Probe, _>(sender, &TASK_FLAGS);
    if sender_flags & PF_EXITING != 0 {
        flags |= NOTE_SENDER_EXITING;
    }
    if crate::task::is_namespace_init(sender) {
        flags |= NOTE_SENDER_NS_INIT;
    }
    let sender_leader: *const u8 = field::<Probe, _>(sender, &TASK_LEADER);
    let mut key_of_sender = SenderKey {
        start_time_ns: field::<Probe, _>(sender_leader, &TASK_START),
        digest: 0,
        tgid: sender_tgid,
        reserved: 0,
    };
    if info.origin == ORIGIN_USER && !own && sender_flags & PF_KTHREAD == 0 {
        capture_sender(&mut key_of_sender, sender);
    }
    let note = SignalNote {
        time_ns: now(),
        target_start_ns: target_start,
        address: info.address,
        sender: key_of_sender,
        sender_comm: comm::<Probe>(sender_leader),
        signal: signal as u32,
        code: info.code,
        origin: info.origin,
        flags,
    };
    mark_noted(target_tgid, note.time_ns);
    if NOTES.insert(key, note, 0).is_err() {
        count_lost(SLOT_SIGNAL);
    }
}

/// Captures the sender as it is now, and completes its key. What is captured already is not kept twice.
#[inline(always)]
fn capture_sender(key: &mut SenderKey, task: *const u8) {
    let Some(writer) = Writer::start(SLOT_SIGNAL) else { return };
    // A `Sender` begins with its length, which is written last.
    let sender = writer.fixed::<[u32; 2]>();
    let head = writer.next();
    capture::<Probe>(writer, task, OTHER_ARGS_MAX);
    writer.pad();
    let mut len = writer.len() - head;
    if len > SENDER_BYTES as u32 {
        len = cut(writer, head);
    }
    // SAFETY: `fixed` gave room for both words.
    unsafe { *sender = [len, 0] };
    key.digest = digest(writer, head + len);
    // SAFETY: only the presence of a value is used.
    if unsafe { SENDERS.get(*key) }.is_some() {
        return;
    }
    // SAFETY: the scratch memory is larger than a `Sender`.
    let value = unsafe { &*writer.bytes().cast::<Sender>() };
    let _ = SENDERS.insert(*key, value, 0);
}

/// Makes a sender that is too long fit: its arguments are cut, and its cgroup is left out where executable and cgroup alone are
/// too long. What stands in the record stays true, or the record of the death could not be read. Returns the new length.
#[inline(always)]
fn cut(writer: Writer, head: u32) -> u32 {
    let record = writer.part::<TaskRecord>(head);
    let fixed = size_of::<TaskRecord>() as u32;
    // SAFETY: `capture` has written the record.
    unsafe {
        let exe_len = u32::from((*record).exe_len);
        let paths = exe_len + u32::from((*record).cgroup_len);
        if fixed + paths > SENDER_BYTES as u32 {
            (*record).cgroup_len = 0;
            (*record).args_len = 0;
            (*record).flags |= TASK_CGROUP_CUT | TASK_NO_ARGS;
            return fixed + exe_len;
        }
        (*record).args_len = (SENDER_BYTES as u32 - fixed - paths) as u16;
    }
    SENDER_BYTES as u32
}

/// Words of a captured sender, its length included.
const WORDS: u32 = (size_of::<Sender>() / 8) as u32;

/// A hash of the first `len` bytes in `writer`, and of what the capture left up to the next word. Whoever makes two of his own moments collide
/// gains nothing: he could have kept the first one.
#[inline(always)]
fn digest(writer: Writer, len: u32) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for word in 0..WORDS {
        if word * 8 >= len {
            break;
        }
        // SAFETY: inside the scratch memory, which is larger than a `Sender`, and aligned to 8.
        let value = unsafe { writer.bytes().cast::<u64>().add(word as usize).read_volatile() };
        hash = (hash ^ value).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 32;
    }
    hash
}

/// What the `info` argument of the tracepoint holds.
struct Info {
    origin: u32,
    flags: u32,
    code: i32,
    address: u64,
}

impl Info {
    /// `info` is 0 (`SEND_SIG_NOINFO`), 1 (`SEND_SIG_PRIV`) or a `struct kernel_siginfo`, whose layout is ABI.
    #[inline(always)]
    fn read(info: *const u8, signal: i32, own: bool) -> Self {
        match info as u64 {
            0 => Self { origin: ORIGIN_USER, flags: NOTE_NO_INFO, code: 0, address: 0 },
            1 => Self { origin: ORIGIN_KERNEL, flags: 0, code: 0x80, address: 0 },
            _ => {
                let code = code(info);
                let origin = origin(code, signal, own);
                let address = if origin == ORIGIN_FAULT {
                    // SAFETY: as in `code`.
                    unsafe { Probe::read::<u64>(info.wrapping_add(SI_ADDR)) }
                } else {
                    0
                };
                Self { origin, flags: 0, code, address }
            }
        }
    }
}

/// `si_code` of a `struct kernel_siginfo`.
#[inline(always)]
fn code(info: *const u8) -> i32 {
    // SAFETY: a kernel address by the tracepoint's contract; the helper checks it. No typed load: since the argument may be 0 or
    // 1, the verifiers of some kernels take it for a number.
    unsafe { Probe::read::<i32>(info.wrapping_add(SI_CODE)) }
}

/// Above 0 only the kernel sets it: for a fault, which is the running thread's own, or for I/O (F_SETSIG, fcntl(2)), which any
/// other process may set off.
#[inline(always)]
fn origin(code: i32, signal: i32, own: bool) -> u32 {
    match code {
        SI_TIMER | SI_MESGQ | SI_ASYNCIO | SI_SIGIO => ORIGIN_TIMER,
        BUS_MCEERR_AO if signal == SIGBUS => ORIGIN_FAULT,
        _ if code > 0 && own => ORIGIN_FAULT,
        _ if code > 0 => ORIGIN_TIMER,
        _ => ORIGIN_USER,
    }
}
