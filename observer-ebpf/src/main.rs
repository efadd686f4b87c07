//! The kernel side of observer: what the kernel knows at the moment of an event, and nothing that userspace can work out.
//!
//! One file per family, [`fields`] for every read of a kernel structure, [`scratch`] for building records, [`maps`] for
//! everything that is shared. A program must never delay the path that it sits on: each returns at its first reason to.
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a call between BPF functions loses what the verifier knows of their arguments on older kernels"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the helpers and the records have their own widths, and a checked conversion would need a panic"
)]
#![expect(
    clippy::cast_ptr_alignment,
    clippy::no_mangle_with_rust_abi,
    reason = "records lie at multiples of 8 in scratch memory that is aligned to 8; the kernel calls an iterator with one argument in one register"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's macros call each program with its context by value"
)]

mod bind;
mod exit;
mod fields;
mod holders;
mod maps;
mod oom;
mod path_cache;
mod paths;
mod pattern_cache;
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
