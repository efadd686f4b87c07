//! The floor: a program that does nothing, on a hook. What is above it is the observer's own doing.

use std::ffi::CString;
use std::{fs, io};

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
        attach_by_perf(&name, empty(BPF_PROG_TYPE_TRACEPOINT)?)?;
    } else {
        let name = CString::new(name).map_err(|why| why.to_string())?;
        let program = empty(BPF_PROG_TYPE_RAW_TRACEPOINT)?;
        let open = OpenRawTracepoint { name: name.as_ptr() as u64, program, pad: 0 };
        bpf(BPF_RAW_TRACEPOINT_OPEN, &open)?;
    }
    sys::say("ready", 1);
    sys::pause_for_good()
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

/// Loads it.
fn empty(kind: u32) -> Result<u32, String> {
    // r0 = 0; exit
    let instructions = [0x0000_0000_0000_00b7_u64, 0x95];
    let load = LoadProgram {
        kind,
        count: 2,
        instructions: instructions.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        log: [0; 2],
        kernel_version: 0,
        flags: 0,
    };
    bpf(BPF_PROG_LOAD, &load)
}

fn bpf<T>(command: i32, attributes: &T) -> Result<u32, String> {
    let attributes = std::ptr::from_ref(attributes);
    // SAFETY: the structure is laid out as bpf(2) has it, and what it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    u32::try_from(fd).map_err(|_negative| format!("bpf: {}", io::Error::last_os_error()))
}
