//! The eBPF programs of observer: they report what only the kernel knows at the moment of an event, and leave the rest to
//! userspace.
//!
//! One file a family. [`fields`] reads kernel structures, [`scratch`] builds records, [`maps`] has every map, and
//! [`path_cache`] and [`pattern_cache`] are the two caches.
//!
//! **Invariant:** a program does not delay the kernel path that it is attached to: it returns as soon as it knows that there
//! is nothing to report, and each of its loops has a fixed bound.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::inline_always,
    reason = "older verifiers forget what they know about arguments at a call between BPF functions"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "helpers and records have fixed widths, and a checked conversion would need a panic"
)]
#![expect(
    clippy::cast_ptr_alignment,
    clippy::no_mangle_with_rust_abi,
    reason = "records start at multiples of 8 in scratch memory that is aligned to 8; the kernel calls an iterator with one argument in one register"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's macros call each program with its context by value"
)]

mod bind;
mod exit;
mod fair;
mod fields;
mod holders;
mod maps;
mod oom;
mod origin;
mod path_cache;
mod paths;
mod pattern_cache;
mod refusal;
mod scratch;
mod signal;
mod socket;
mod task;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no code path panics; the verifier refuses a program that could get here.
    unsafe { core::hint::unreachable_unchecked() }
}

/// Some kernel helpers are only for programs under a GPL-compatible licence; the kernel reads it here.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
