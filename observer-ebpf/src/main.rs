//! The kernel side of observer: what the kernel knows at the moment of an event, and nothing that userspace can work out.
//!
//! One file per family, [`fields`] for every read of a kernel structure, [`scratch`] for building records, [`maps`] for
//! everything that is shared. A program must never delay the path that it sits on: each returns at its first reason to.
#![no_std]
#![no_main]

mod bind;
mod exit;
mod fields;
mod holders;
mod maps;
mod oom;
mod paths;
mod scratch;
mod signal;
mod socket;
mod task;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no code path panics; the verifier would refuse a program that could get here.
    unsafe { core::hint::unreachable_unchecked() }
}

/// Helpers of the kernel that are free to use only for programs under a GPL-compatible licence need this.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
