//! Processes that use more memory than their cgroup may.

use std::ffi::c_void;
use std::io::{Read, Write};

use libc::c_int;

use crate::args::Args;
use crate::{Command, Outcome, sys, wrap};

pub(crate) const COMMANDS: &[Command] = &[
    ("hog", hog),
    ("hog-beside-small", hog_beside_small),
    ("hog-shared", hog_shared),
    ("peak", peak),
];

/// `OOM_SCORE_ADJ_MIN`: the OOM killer does not choose it.
const NEVER: &str = "-1000";
const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Allocates `mib` MiB of anonymous memory, writes to every page, and leaks it.
fn touch(mib: usize) -> Result<(), String> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), mib * MIB, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(format!("mmap: {}", std::io::Error::last_os_error()));
    }
    for offset in (0..mib * MIB).step_by(PAGE) {
        // SAFETY: inside the mapping; volatile, so that no page is left out as pointless.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
    }
    Ok(())
}

/// `hog MIB`: uses MIB MiB, says `touched=MIB` if it survives, and waits.
fn hog(mut args: Args) -> Outcome {
    let mib = args.number("MIB")?;
    touch(mib)?;
    sys::say("touched", mib);
    sys::pause_for_good()
}

/// `peak MIB CODE`: uses MIB MiB and exits with CODE.
fn peak(mut args: Args) -> Outcome {
    let mib = args.number("MIB")?;
    let code = args.number("CODE")?;
    touch(mib)?;
    sys::leave(code)
}

/// `hog-beside-small BIG SMALL`: one child uses BIG MiB and waits; then a second one asks for SMALL MiB. The kernel
/// kills the first for the request of the second, and cannot kill the second even when memory is freed slowly. Says
/// both pids and both ends as a shell's status.
fn hog_beside_small(mut args: Args) -> Outcome {
    let big_mib = args.number("BIG")?;
    let small_mib = args.number("SMALL")?;
    let (mut reader, mut writer) = std::io::pipe().map_err(|why| why.to_string())?;
    // Root in a container may lack CAP_SYS_RESOURCE. It goes without, where memory comes back in time.
    let _ = wrap::oom_score(NEVER);
    let big = sys::fork_tied(|| {
        let done = wrap::oom_score("0").is_ok()
            && touch(big_mib).is_ok()
            && writer.write_all(b"x").is_ok();
        if done { sys::pause_for_good() } else { 1 }
    })?;
    sys::say_pid("big_pid", big);
    reader.read_exact(&mut [0]).map_err(|why| why.to_string())?;
    let small = sys::fork_tied(|| i32::from(touch(small_mib).is_err()))?;
    sys::say_pid("small_pid", small);
    sys::say("small_status", sys::shell_status(sys::reap(small)?));
    // Not killed after all: end it, so that the test fails by what it sees and not by waiting.
    sys::kill(big, libc::SIGTERM)?;
    sys::say("big_status", sys::shell_status(sys::reap(big)?));
    Ok(0)
}

/// `hog-shared MIB`: two processes (not threads) share one memory: the kernel must kill both.
fn hog_shared(mut args: Args) -> Outcome {
    extern "C" fn sit_still(_: *mut c_void) -> c_int {
        sys::die_with_parent(libc::SIGKILL);
        sys::pause_for_good()
    }
    let mib = args.number("MIB")?;
    let mut stack = vec![0_u128; 4096];
    let top = stack.as_mut_ptr_range().end.cast();
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    // SAFETY: the stack lives as long as this function, which does not return before the end.
    let partner = unsafe { libc::clone(sit_still, top, flags, std::ptr::null_mut()) };
    sys::say_pid("partner_pid", sys::check("clone", partner)?);
    touch(mib)?;
    sys::say("touched", mib);
    sys::pause_for_good()
}
