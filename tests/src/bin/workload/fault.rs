//! CPU faults at known addresses, which are printed as `address=0x…` or chosen by the test. In assembler, because a
//! compiler may change a write through a null pointer.

use std::arch::asm;
use std::ffi::c_void;

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("segv", segv),
    ("bus", bus),
    ("ill", ill),
    ("fpe", fpe),
    ("trap", trap),
    ("reraise", reraise),
    ("threads-fault", threads_fault),
];

const PAGE: usize = 4096;

/// `segv ADDRESS|readonly`: writes a byte there; ADDRESS is hexadecimal. For a non-canonical address the kernel
/// reports `SI_KERNEL` and no address.
fn segv(mut args: Args) -> Outcome {
    let word = args.text("ADDRESS")?;
    let address = if word == "readonly" {
        map(PAGE, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?
    } else {
        usize::from_str_radix(word.trim_start_matches("0x"), 16).map_err(|why| why.to_string())?
    };
    sys::say("address", format_args!("{address:#x}"));
    write_byte(address);
    Err("the write went through".to_owned())
}

/// `reraise`: like a crash handler: catches SIGSEGV, then raises it again with the default action.
fn reraise(_args: Args) -> Outcome {
    extern "C" fn report(signal: i32) {
        sys::disposition(signal, libc::SIG_DFL);
        // SAFETY: takes an integer.
        unsafe { libc::raise(signal) };
    }
    sys::disposition(libc::SIGSEGV, report as *const () as libc::sighandler_t);
    sys::say("address", format_args!("{REPORTED:#x}"));
    write_byte(REPORTED);
    Err("the write went through".to_owned())
}

const REPORTED: usize = 0xdead_0000;

/// `threads-fault N`: one thread of N + 1 writes to address 0xdead0000, the others wait.
fn threads_fault(mut args: Args) -> Outcome {
    let number: usize = args.number("N")?;
    for _ in 0..number {
        std::thread::spawn(|| sys::pause_for_good());
    }
    sys::say("address", format_args!("{REPORTED:#x}"));
    let named = std::thread::Builder::new().name("a-thread".to_owned());
    let fault = named.spawn(|| write_byte(REPORTED)).map_err(|why| why.to_string())?;
    let _never = fault.join();
    Err("the write went through".to_owned())
}

/// `bus`: writes to a mapped page past the end of the file.
fn bus(_args: Args) -> Outcome {
    // SAFETY: the name is a C string.
    let fd = sys::check("memfd_create", unsafe { libc::memfd_create(c"short".as_ptr(), 0) })?;
    let address = map(PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd)?;
    sys::say("address", format_args!("{address:#x}"));
    write_byte(address);
    Err("the write went through".to_owned())
}

/// `ill`: an invalid instruction.
fn ill(_args: Args) -> Outcome {
    // SAFETY: traps.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("ud2");
        #[cfg(target_arch = "aarch64")]
        asm!("udf #0");
    }
    Err("the instruction went through".to_owned())
}

/// `fpe`: an integer division by zero.
fn fpe(_args: Args) -> Outcome {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: traps.
    unsafe {
        asm!("xor ecx, ecx", "xor edx, edx", "mov eax, 1", "idiv ecx",
            out("eax") _, out("ecx") _, out("edx") _);
    }
    Err("this processor divides by zero".to_owned())
}

/// `trap`: a breakpoint without a debugger.
fn trap(_args: Args) -> Outcome {
    // SAFETY: traps.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("int3");
        #[cfg(target_arch = "aarch64")]
        asm!("brk #0");
    }
    Err("the breakpoint was passed".to_owned())
}

fn map(len: usize, protection: i32, flags: i32, fd: i32) -> Result<usize, String> {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
    if address == libc::MAP_FAILED {
        return Err(format!("mmap: {}", std::io::Error::last_os_error()));
    }
    Ok(address.cast::<c_void>() as usize)
}

fn write_byte(address: usize) {
    // SAFETY: faults, and the process ends there.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov byte ptr [{}], 1", in(reg) address);
        #[cfg(target_arch = "aarch64")]
        asm!("strb wzr, [{}]", in(reg) address);
    }
}
