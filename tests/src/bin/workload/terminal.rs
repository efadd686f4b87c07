//! Signals that the kernel sends for a terminal: a key or a hang-up.

use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[("terminal", terminal)];

/// `terminal interrupt|quit|hangup`: a child has a terminal of its own; that key is pressed, or the terminal is
/// closed.
fn terminal(mut args: Args) -> Outcome {
    let key: &[u8] = match args.text("interrupt|quit|hangup")?.as_str() {
        "interrupt" => b"\x03",
        "quit" => b"\x1c",
        "hangup" => b"",
        other => return Err(format!("no such event: {other}")),
    };
    let (terminal, name) = open_terminal()?;
    let (mut ready, mut child_is_ready) = std::io::pipe().map_err(|why| why.to_string())?;
    let child = sys::fork_tied(|| {
        // SAFETY: takes no memory but a C string.
        let mine = unsafe {
            libc::close(std::os::fd::AsRawFd::as_raw_fd(&terminal));
            libc::setsid();
            libc::open(name.as_ptr(), libc::O_RDWR)
        };
        if mine < 0 || child_is_ready.write_all(b"x").is_err() {
            return 1;
        }
        sys::pause_for_good()
    })?;
    sys::say_pid("child_pid", child);
    ready.read_exact(&mut [0]).map_err(|why| why.to_string())?;
    let mut terminal = std::fs::File::from(terminal);
    terminal.write_all(key).map_err(|why| why.to_string())?;
    if key.is_empty() {
        drop(terminal);
    }
    Ok(sys::shell_status(sys::reap(child)?))
}

/// The controlling end of a new terminal, and the path of the other end.
fn open_terminal() -> Result<(OwnedFd, std::ffi::CString), String> {
    let mut name = [0_u8; 64];
    // SAFETY: the descriptor is new and nobody else's; the name is as long as said.
    let terminal = unsafe {
        let fd = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        let terminal = OwnedFd::from_raw_fd(sys::check("posix_openpt", fd)?);
        sys::check("grantpt", libc::grantpt(fd))?;
        sys::check("unlockpt", libc::unlockpt(fd))?;
        sys::check("ptsname_r", -libc::ptsname_r(fd, name.as_mut_ptr().cast(), name.len()))?;
        terminal
    };
    let name = std::ffi::CStr::from_bytes_until_nul(&name).map_err(|why| why.to_string())?;
    Ok((terminal, name.to_owned()))
}
