//! System calls that the standard library has no safe function for.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Sends a signal to a child that was not reaped, so that its pid cannot have been reused.
pub fn kill(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).expect("a pid fits");
    // SAFETY: takes two integers.
    let done = unsafe { libc::kill(pid, signal) };
    assert!(done == 0, "kill({pid}, {signal}): {}", std::io::Error::last_os_error());
}

/// Waits until a child is stopped or has ended. The state is left in place (WNOWAIT), since a wait that takes it
/// changes what the kernel keeps.
pub fn wait_for_stop(pid: u32) {
    let how = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
    // SAFETY: zeros are a valid value; the kernel fills it in.
    let done = unsafe { libc::waitid(libc::P_PID, pid, &mut std::mem::zeroed(), how) };
    assert!(done == 0, "waitid({pid}): {}", std::io::Error::last_os_error());
}

/// A pidfd, which stays valid when the pid is reused. None when the process is gone.
pub fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: takes two integers; the descriptor is new and nobody else's.
    unsafe {
        let fd = i32::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).ok()?;
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// Sends SIGKILL to the process of a pidfd, if it lives.
pub fn kill_by(handle: &OwnedFd) {
    // SAFETY: takes integers and no siginfo.
    unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, handle.as_raw_fd(), libc::SIGKILL, 0, 0);
    }
}

/// Whether the process ended within `limit`.
pub fn ended_within(handle: &OwnedFd, limit: Duration) -> bool {
    let mut poll = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one entry, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, ms) == 1 }
}

/// Reaps a child that has ended.
pub fn reap(pid: u32) -> ExitStatus {
    let pid = libc::pid_t::try_from(pid).expect("a pid fits");
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid, "waitpid: {}", std::io::Error::last_os_error());
    ExitStatus::from_raw(status)
}

/// Where `what` begins in `bytes`. In a debug build the standard library's search is much slower.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    // SAFETY: both are as long as said.
    let found = unsafe {
        libc::memmem(bytes.as_ptr().cast(), bytes.len(), what.as_ptr().cast(), what.len())
    };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}

/// Whether this is root, by effective user.
pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Memory and swap of the machine, in bytes.
pub fn memory_bytes() -> u64 {
    // SAFETY: zeros are a valid value of a structure of numbers.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: `info` outlives the call.
    let done = unsafe { libc::sysinfo(&raw mut info) };
    assert!(done == 0, "sysinfo: {}", std::io::Error::last_os_error());
    (info.totalram + info.totalswap) * u64::from(info.mem_unit)
}

/// Where a program is installed. Root's folders count, whatever `PATH` says.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|found| found.is_file())
}

/// The children of a living process.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

/// The inode of a namespace of a living process, such as `net`: `netns` in an event.
pub fn namespace(pid: u32, kind: &str) -> u64 {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("the process lives");
    let text = link.to_string_lossy().into_owned();
    let number = text.rsplit('[').next().and_then(|rest| rest.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).expect("kind:[inode]")
}

/// How many eBPF programs are attached to the kernel by links, of anybody's.
pub fn links() -> usize {
    const BPF_LINK_GET_NEXT_ID: i32 = 31;
    // `union bpf_attr` for this command: the number to begin after, the next one, flags.
    let mut attributes = [0_u32; 3];
    let mut count = 0;
    loop {
        // SAFETY: the kernel reads and writes as many bytes as it is told.
        let done = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_LINK_GET_NEXT_ID,
                attributes.as_mut_ptr(),
                size_of_val(&attributes),
            )
        };
        if done != 0 {
            let why = std::io::Error::last_os_error();
            assert_eq!(why.raw_os_error(), Some(libc::ENOENT), "{why}");
            return count;
        }
        count += 1;
        attributes = [attributes[1], 0, 0];
    }
}
