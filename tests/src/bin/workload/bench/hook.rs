//! The floor: a program that does nothing, on a hook. What is above it is the observer's own doing.

use std::ffi::CString;
use std::io;

use crate::args::Args;
use crate::{Outcome, sys};

const BPF_PROG_LOAD: i32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: i32 = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

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

/// `bench-hook TRACEPOINT`: attaches an empty program, says `ready=1`, waits.
pub(super) fn hook(mut args: Args) -> Outcome {
    let name = CString::new(args.text("TRACEPOINT")?).map_err(|why| why.to_string())?;
    // r0 = 0; exit
    let instructions = [0x0000_0000_0000_00b7_u64, 0x95];
    let load = LoadProgram {
        kind: BPF_PROG_TYPE_RAW_TRACEPOINT,
        count: 2,
        instructions: instructions.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        log: [0; 2],
        kernel_version: 0,
        flags: 0,
    };
    let program = bpf(BPF_PROG_LOAD, &load)?;
    let open = OpenRawTracepoint { name: name.as_ptr() as u64, program, pad: 0 };
    bpf(BPF_RAW_TRACEPOINT_OPEN, &open)?;
    sys::say("ready", 1);
    sys::pause_for_good()
}

fn bpf<T>(command: i32, attributes: &T) -> Result<u32, String> {
    let attributes = std::ptr::from_ref(attributes);
    // SAFETY: the structure is laid out as bpf(2) has it, and what it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    u32::try_from(fd).map_err(|_negative| format!("bpf: {}", io::Error::last_os_error()))
}
