//! Wrappers: each changes one thing about this process and runs the rest of the command line.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::args::Args;
use crate::{Command, Outcome, run, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("in-cgroup", in_cgroup),
    ("in-netns", in_netns),
    ("in-pidns", in_pidns),
    ("in-root", in_root),
    ("as-user", as_user),
    ("named", named),
    ("with-core", with_core),
    ("oom-adj", oom_adj),
    ("own-group", own_group),
    ("hide", hide),
    ("see", see),
    ("without-capabilities", without_capabilities),
    ("exec", exec),
];

/// `in-cgroup DIR COMMAND…`
fn in_cgroup(mut args: Args) -> Outcome {
    let procs = PathBuf::from(args.os("DIR")?).join("cgroup.procs");
    std::fs::write(&procs, "0").map_err(|why| format!("{}: {why}", procs.display()))?;
    run(args)
}

/// `in-netns COMMAND…`: in a new network namespace, with loopback up.
fn in_netns(args: Args) -> Outcome {
    // SAFETY: takes an integer.
    sys::check("unshare", unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    // SAFETY: `request` outlives the calls, and its name ends in a NUL.
    unsafe {
        let fd = sys::check("socket", libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0))?;
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags =
            i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
        sys::check("SIOCSIFFLAGS", libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request))?;
        libc::close(fd);
    }
    run(args)
}

/// `in-pidns COMMAND…`: a child, pid 1 of a new pid namespace, runs COMMAND. Says the child's pid in the test's
/// namespace, and ends as the child did.
fn in_pidns(args: Args) -> Outcome {
    // SAFETY: takes an integer.
    sys::check("unshare", unsafe { libc::unshare(libc::CLONE_NEWPID) })?;
    let mut rest = Some(args);
    let child = sys::fork(|| {
        sys::die_with_parent(libc::SIGKILL);
        sys::pids_are_private();
        match rest.take().map(run) {
            Some(Ok(code)) => code,
            _ => 98,
        }
    })?;
    sys::say_pid("child_pid", child);
    Ok(sys::shell_status(sys::reap(child)?))
}

/// `in-root DIR COMMAND…`: with DIR as its root.
fn in_root(mut args: Args) -> Outcome {
    let dir = args.os("DIR")?;
    let name = dir.as_bytes().escape_ascii();
    std::os::unix::fs::chroot(&dir).map_err(|why| format!("{name}: {why}"))?;
    std::env::set_current_dir("/").map_err(|why| why.to_string())?;
    run(args)
}

/// `as-user UID COMMAND…`: with the group of the same number, and no other group.
fn as_user(mut args: Args) -> Outcome {
    let uid = args.number("UID")?;
    // SAFETY: an empty list needs no memory.
    unsafe {
        sys::check("setgroups", libc::setgroups(0, std::ptr::null()))?;
        sys::check("setgid", libc::setgid(uid))?;
        sys::check("setuid", libc::setuid(uid))?;
        // As after the exec of a program that this user starts: his other processes may trace it.
        sys::check("prctl", libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
    }
    run(args)
}

/// `named NAME COMMAND…`: with this comm, any bytes.
fn named(mut args: Args) -> Outcome {
    let name = CString::new(args.os("NAME")?.into_vec()).map_err(|why| why.to_string())?;
    // SAFETY: a C string; the kernel takes its first 15 bytes.
    sys::check("prctl", unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) })?;
    run(args)
}

/// `with-core DIR COMMAND…`: may dump core, into DIR.
fn with_core(mut args: Args) -> Outcome {
    let dir = args.os("DIR")?;
    let name = dir.as_bytes().escape_ascii();
    std::env::set_current_dir(&dir).map_err(|why| format!("{name}: {why}"))?;
    sys::set_limit(libc::RLIMIT_CORE, libc::RLIM_INFINITY, libc::RLIM_INFINITY)?;
    run(args)
}

/// `oom-adj SCORE COMMAND…`
fn oom_adj(mut args: Args) -> Outcome {
    let score = args.text("SCORE")?;
    oom_score(&score)?;
    run(args)
}

pub(crate) fn oom_score(score: &str) -> Result<(), String> {
    std::fs::write("/proc/self/oom_score_adj", score).map_err(|why| why.to_string())
}

/// `own-group COMMAND…`: in a new process group, so that signals to the group reach no other process.
fn own_group(args: Args) -> Outcome {
    // SAFETY: takes integers.
    sys::check("setpgid", unsafe { libc::setpgid(0, 0) })?;
    run(args)
}

/// `hide DIR COMMAND…`: this process alone sees an empty folder at DIR.
fn hide(mut args: Args) -> Outcome {
    let dir = path(&mut args, "DIR")?;
    mount_privately(c"tmpfs", &dir, libc::MS_RDONLY)?;
    run(args)
}

/// `see SOURCE DIR COMMAND…`: this process alone sees SOURCE at DIR.
fn see(mut args: Args) -> Outcome {
    let (source, dir) = (path(&mut args, "SOURCE")?, path(&mut args, "DIR")?);
    mount_privately(&source, &dir, libc::MS_BIND)?;
    run(args)
}

fn path(args: &mut Args, what: &str) -> Result<CString, String> {
    CString::new(args.os(what)?.into_vec()).map_err(|why| why.to_string())
}

fn mount_privately(source: &CStr, dir: &CStr, flags: libc::c_ulong) -> Result<(), String> {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let nothing = std::ptr::null();
    // SAFETY: C strings, and no data.
    unsafe {
        sys::check("unshare", libc::unshare(libc::CLONE_NEWNS))?;
        let root = libc::mount(nothing, c"/".as_ptr(), nothing, private, nothing.cast());
        sys::check("mount /", root)?;
        let kind = c"tmpfs".as_ptr();
        let mounted = libc::mount(source.as_ptr(), dir.as_ptr(), kind, flags, nothing.cast());
        sys::check("mount", mounted).map(drop)
    }
}

/// `without-capabilities COMMAND…`: what COMMAND executes is root without capabilities.
fn without_capabilities(args: Args) -> Outcome {
    // SAFETY: takes integers.
    let drop_it = |which: i32| unsafe { libc::prctl(libc::PR_CAPBSET_DROP, which, 0, 0, 0) };
    // The first number that is no capability is refused.
    let _all = (0..64).take_while(|which| drop_it(*which) == 0).count();
    run(args)
}

/// `exec PROGRAM WORD…`: executes another program.
fn exec(mut args: Args) -> Outcome {
    let mut program = std::process::Command::new(args.os("PROGRAM")?);
    while let Ok(word) = args.os("") {
        program.arg(word);
    }
    Err(program.exec().to_string())
}
