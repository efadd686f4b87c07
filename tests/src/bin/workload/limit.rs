//! Resource limits.

use std::hint::black_box;

use crate::args::Args;
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[("cpu-limit", cpu_limit), ("file-limit", file_limit)];

/// `cpu-limit soft|hard`: uses CPU time until SIGXCPU ends it after one second, or, with SIGXCPU ignored, SIGKILL
/// after two.
fn cpu_limit(mut args: Args) -> Outcome {
    match args.text("soft|hard")?.as_str() {
        "soft" => sys::set_limit(libc::RLIMIT_CPU, 1, libc::RLIM_INFINITY)?,
        "hard" => {
            sys::disposition(libc::SIGXCPU, libc::SIG_IGN);
            sys::set_limit(libc::RLIMIT_CPU, 1, 2)?;
        }
        other => return Err(format!("neither soft nor hard: {other}")),
    }
    let mut burnt = 0_u64;
    loop {
        burnt = black_box(burnt.wrapping_add(1));
    }
}

/// `file-limit`: writes past its limit on the file size (to a memfd, so no file system matters).
fn file_limit(_args: Args) -> Outcome {
    sys::set_limit(libc::RLIMIT_FSIZE, 4096, 4096)?;
    // SAFETY: the name is a C string.
    let fd = sys::check("memfd_create", unsafe { libc::memfd_create(c"big".as_ptr(), 0) })?;
    let page = [0_u8; 4096];
    loop {
        // SAFETY: the buffer is as long as said.
        let written = unsafe { libc::write(fd, page.as_ptr().cast(), page.len()) };
        if written < 0 {
            return Err(format!("write: {}", std::io::Error::last_os_error()));
        }
    }
}
