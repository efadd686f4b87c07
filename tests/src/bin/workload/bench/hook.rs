//! The floors: a program that does nothing, on a hook, and one that does the least that a record takes. What is above them is
//! the observer's own doing.

use std::ffi::CString;
use std::{fs, io};

use super::ring::Ring;
use crate::args::Args;
use crate::{Outcome, sys};

const BPF_PROG_LOAD: i32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: i32 = 17;
const BPF_PROG_TYPE_TRACEPOINT: u32 = 5;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;

/// What bpf(2) reads when it loads a program; what is not named here is 0.
#[repr(C)]
struct LoadProgram {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log: [u64; 2],
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct OpenRawTracepoint {
    name: u64,
    program: u32,
    pad: u32,
}

/// What perf_event_open(2) reads, in its first version: 64 bytes.
#[repr(C)]
#[derive(Default)]
struct PerfEvent {
    kind: u32,
    size: u32,
    tracepoint: u64,
    rest: [u64; 6],
}

/// `bench-hook TRACEPOINT`: attaches an empty program, says `ready=1`, waits.
///
/// `GROUP/TRACEPOINT` is one that only perf can attach to, as those of single system calls are.
pub(super) fn hook(mut args: Args) -> Outcome {
    let name = args.text("TRACEPOINT")?;
    if name.contains('/') {
        attach_by_perf(&name, load(BPF_PROG_TYPE_TRACEPOINT, &EMPTY)?)?;
    } else {
        attach(name, load(BPF_PROG_TYPE_RAW_TRACEPOINT, &EMPTY)?)?;
    }
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `bench-record TRACEPOINT`: the same with a program that writes 64 bytes into a ring: ids, time and name of whoever runs. The
/// reader is never woken, and takes what came every 10 ms without a look at it.
pub(super) fn record(mut args: Args) -> Outcome {
    let name = args.text("TRACEPOINT")?;
    let ring = Ring::new()?;
    attach(name, load(BPF_PROG_TYPE_RAW_TRACEPOINT, &bare_record(ring.fd()))?)?;
    sys::say("ready", 1);
    loop {
        sys::sleep_ms(10);
        ring.take_all();
    }
}

fn attach(name: String, program: u32) -> Result<(), String> {
    let name = CString::new(name).map_err(|why| why.to_string())?;
    let open = OpenRawTracepoint { name: name.as_ptr() as u64, program, pad: 0 };
    // Attached for as long as this process is there.
    bpf(BPF_RAW_TRACEPOINT_OPEN, &open).map(drop)
}

/// On one processor, which turns the tracepoint on for all.
fn attach_by_perf(name: &str, program: u32) -> Result<(), String> {
    let path = format!("/sys/kernel/tracing/events/{name}/id");
    let id = fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"))?;
    let event = PerfEvent {
        kind: PERF_TYPE_TRACEPOINT,
        size: 64,
        tracepoint: id.trim().parse().map_err(|why| format!("{path}: {why}"))?,
        ..PerfEvent::default()
    };
    let failed = |what: &str| format!("{what}: {}", io::Error::last_os_error());
    let everybody: libc::pid_t = -1;
    let (processor, group, flags) = (0, -1, 0);
    // SAFETY: the structure is as long as it says, and outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const event,
            everybody,
            processor,
            group,
            flags,
        )
    };
    let fd =
        i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(|| failed("perf_event_open"))?;
    // SAFETY: an event's descriptor and a program's, which the kernel checks.
    let set = unsafe { libc::ioctl(fd, PERF_EVENT_IOC_SET_BPF, program) };
    if set == 0 { Ok(()) } else { Err(failed("PERF_EVENT_IOC_SET_BPF")) }
}

/// `r0 = 0; exit`.
const EMPTY: [u64; 2] = [instruction(MOV, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)];

/// Operations, uapi/linux/bpf.h and bpf_common.h: 64 bits wide, the last operand an immediate unless the name says otherwise.
const MOV: u8 = 0xb7;
const MOV_REGISTER: u8 = 0xbf;
const ADD: u8 = 0x07;
const STORE: u8 = 0x7a;
const STORE_REGISTER: u8 = 0x7b;
const LOAD_ADDRESS: u8 = 0x18;
const JUMP_IF_EQUAL: u8 = 0x15;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// What makes an address that of a map.
const BPF_PSEUDO_MAP_FD: u8 = 1;

/// Numbers of helpers, uapi/linux/bpf.h.
const GET_CURRENT_PID_TGID: i32 = 14;
const GET_CURRENT_COMM: i32 = 16;
const KTIME_GET_BOOT_NS: i32 = 125;
const RINGBUF_RESERVE: i32 = 131;
const RINGBUF_SUBMIT: i32 = 132;
const BPF_RB_NO_WAKEUP: i32 = 1;

fn bare_record(ring: i32) -> [u64; 24] {
    let call = |helper| instruction(CALL, 0, 0, 0, helper);
    [
        instruction(LOAD_ADDRESS, 1, BPF_PSEUDO_MAP_FD, 0, ring),
        0, // its upper half
        instruction(MOV, 2, 0, 0, 64),
        instruction(MOV, 3, 0, 0, 0),
        call(RINGBUF_RESERVE),
        instruction(JUMP_IF_EQUAL, 0, 0, 16, 0), // full: to the end
        instruction(MOV_REGISTER, 6, 0, 0, 0),
        call(GET_CURRENT_PID_TGID),
        instruction(STORE_REGISTER, 6, 0, 0, 0),
        call(KTIME_GET_BOOT_NS),
        instruction(STORE_REGISTER, 6, 0, 8, 0),
        instruction(MOV_REGISTER, 1, 6, 0, 0),
        instruction(ADD, 1, 0, 0, 16),
        instruction(MOV, 2, 0, 0, 16),
        call(GET_CURRENT_COMM),
        instruction(STORE, 6, 0, 32, 0),
        instruction(STORE, 6, 0, 40, 0),
        instruction(STORE, 6, 0, 48, 0),
        instruction(STORE, 6, 0, 56, 0),
        instruction(MOV_REGISTER, 1, 6, 0, 0),
        instruction(MOV, 2, 0, 0, BPF_RB_NO_WAKEUP),
        call(RINGBUF_SUBMIT),
        instruction(MOV, 0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// `struct bpf_insn`: operation, target and source register, offset, immediate.
const fn instruction(operation: u8, target: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = immediate.to_le_bytes();
    u64::from_le_bytes([operation, source << 4 | target, low, high, a, b, c, d])
}

fn load(kind: u32, instructions: &[u64]) -> Result<u32, String> {
    let count = u32::try_from(instructions.len()).map_err(|why| why.to_string())?;
    let load = LoadProgram {
        kind,
        count,
        instructions: instructions.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        log: [0; 2],
        kernel_version: 0,
        flags: 0,
    };
    bpf(BPF_PROG_LOAD, &load)
}

pub(super) fn bpf<T>(command: i32, attributes: &T) -> Result<u32, String> {
    let attributes = std::ptr::from_ref(attributes);
    // SAFETY: the structure is laid out as bpf(2) has it, and what it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    u32::try_from(fd).map_err(|_negative| format!("bpf: {}", io::Error::last_os_error()))
}
