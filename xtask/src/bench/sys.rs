//! System calls that the standard library lacks.

use anyhow::{Result, bail};

/// Sends a signal to a child.
pub(crate) fn signal(pid: u32, signal: i32) -> Result<()> {
    // SAFETY: takes two integers.
    if unsafe { libc::kill(pid.cast_signed(), signal) } != 0 {
        bail!("kill: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

/// Processor time of the process in nanoseconds, ended threads included; 0 when it is gone.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    // SAFETY: both structures outlive the calls.
    let time = unsafe {
        let mut clock = 0;
        let mut time: libc::timespec = std::mem::zeroed();
        if libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) == 0 {
            libc::clock_gettime(clock, &raw mut time);
        }
        time
    };
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}
