//! What a user without rights can make large: arguments, sockets, children, refusals, paths that hang.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use crate::args::Args;
use crate::socket::{self, Wish};
use crate::{Command, Outcome, run, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("with-files", with_files),
    ("long-args", long_args),
    ("many-sockets", many_sockets),
    ("many-children", many_children),
    ("many-zombies", many_zombies),
    ("many-refusals", many_refusals),
    ("lock-all", lock_all),
    ("hanging-mount", hanging_mount),
];

/// `with-files N COMMAND…`: with so many descriptors allowed.
fn with_files(mut args: Args) -> Outcome {
    let number = args.number("N")?;
    sys::set_limit(libc::RLIMIT_NOFILE, number, number)?;
    run(args)
}

/// `long-args BYTES x|nul COMMAND…`: with an argument area of that size, full of text or empty (PR_SET_MM_MAP).
fn long_args(mut args: Args) -> Outcome {
    let bytes: usize = args.number("BYTES")?;
    let fill = if args.text("x|nul")? == "x" { b'x' } else { 0 };
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|why| why.to_string())?;
    let fields: Vec<u64> =
        stat.rsplit(' ').map(|field| field.trim().parse().unwrap_or(0)).collect::<Vec<_>>();
    // Counted from the end, since the name may have spaces; the last is number 52.
    let field = |number: usize| fields.get(52 - number).copied().unwrap_or(0);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping of that length, filled up to its end; `map` outlives the call.
    unsafe {
        let area = libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0);
        if area == libc::MAP_FAILED {
            return Err("mmap failed".to_owned());
        }
        if fill != 0 {
            libc::memset(area, fill.into(), bytes);
        }
        // struct prctl_mm_map, uapi/linux/prctl.h: no auxiliary vector, and no other executable.
        let (code, data, brk) = ([field(26), field(27)], [field(45), field(46)], field(47));
        let args = [area as u64, area as u64 + bytes as u64];
        let no_exe = u64::from(u32::MAX) << 32;
        let map: [u64; 13] = [
            code[0],
            code[1],
            data[0],
            data[1],
            brk,
            libc::sbrk(0) as u64,
            field(28),
            args[0],
            args[1],
            field(50),
            field(51),
            0,
            no_exe,
        ];
        let set = libc::prctl(libc::PR_SET_MM, PR_SET_MM_MAP, &raw const map, size_of_val(&map), 0);
        sys::check("PR_SET_MM_MAP", set)?;
    }
    run(args)
}

/// uapi/linux/prctl.h.
const PR_SET_MM_MAP: libc::c_int = 14;

/// The address of the socket with that number, each another one of the loopback network.
fn address(number: u32, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x7f00_0001 + (2 << 16) + number).into(), port)
}

/// `many-sockets N tcp|udp PORT [reuseport]`: N sockets on PORT, each of an address of its own or, with `reuseport`, all of
/// 127.0.0.1. Says `ready=1` and waits.
fn many_sockets(mut args: Args) -> Outcome {
    serve_many(&mut args)?;
    sys::say("ready", 1);
    sys::pause_for_good()
}

fn serve_many(args: &mut Args) -> Result<u16, String> {
    let number: u32 = args.number("N")?;
    let protocol = args.text("tcp|udp")?;
    let port: u16 = args.number("PORT")?;
    let shared = args.text("").is_ok_and(|flag| flag == "reuseport");
    let mut port = port;
    for n in 0..number {
        let at = if shared { format!("127.0.0.1:{port}") } else { address(n, port).to_string() };
        let mut words = vec![protocol.clone(), at];
        if shared {
            words.push("reuseport".to_owned());
        }
        let wish = Wish::parse(&words)?;
        let fd = wish.open()?;
        wish.serve(fd).map_err(|refusal| format!("socket {n}: errno {}", refusal.errno))?;
        if port == 0 {
            port = socket::port(fd);
        }
    }
    sys::say("port", port);
    Ok(port)
}

/// `many-children CHILDREN N tcp|udp PORT`: as `many-sockets`, with children that share them all.
fn many_children(mut args: Args) -> Outcome {
    let children: u32 = args.number("CHILDREN")?;
    serve_many(&mut args)?;
    for _ in 0..children {
        sys::fork_tied(|| sys::pause_for_good())?;
    }
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `many-zombies ZOMBIES N tcp|udp PORT`: the same with children that nobody reaps.
fn many_zombies(mut args: Args) -> Outcome {
    let zombies: u32 = args.number("ZOMBIES")?;
    serve_many(&mut args)?;
    for _ in 0..zombies {
        sys::fork(|| 0)?;
    }
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `many-refusals N PORT [one]`: is refused N times, on the addresses of `many-sockets`, or always on 127.0.0.1. Says
/// `refused`.
fn many_refusals(mut args: Args) -> Outcome {
    let number: u32 = args.number("N")?;
    let port: u16 = args.number("PORT")?;
    let one = args.text("").is_ok();
    let mut refused = 0;
    for n in 0..number {
        let at = if one { format!("127.0.0.1:{port}") } else { address(n, port).to_string() };
        let wish = Wish::parse(&["tcp".to_owned(), at])?;
        let fd = wish.open()?;
        refused += u32::from(wish.bind(fd).is_err());
        // SAFETY: a descriptor of ours that nothing else uses.
        unsafe { libc::close(fd) };
    }
    sys::say("refused", refused);
    Ok(0)
}

/// `lock-all DIR GROUP`: with that group, locks the folder and every file in it that can be opened. Says `locked`, and waits.
fn lock_all(mut args: Args) -> Outcome {
    let dir = std::path::PathBuf::from(args.os("DIR")?);
    let group = args.number("GROUP")?;
    // SAFETY: an empty list needs no memory.
    unsafe {
        sys::check("setgroups", libc::setgroups(0, std::ptr::null()))?;
        sys::check("setgid", libc::setgid(group))?;
        sys::check("setuid", libc::setuid(65534))?;
    }
    let entries = std::fs::read_dir(&dir).map_err(|why| why.to_string())?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path())).chain([dir]);
    let mut locked = Vec::new();
    for file in files.filter_map(|path| File::open(path).ok()) {
        // SAFETY: takes integers.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            locked.push(file);
        }
    }
    sys::say("locked", locked.len());
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `hanging-mount DIR`: in a mount namespace of its own, DIR is a FUSE file system whose daemon answers until a bind to a path
/// there was refused, and then no more. Says `ready=1` before that bind, `refused=1` after it, and waits.
fn hanging_mount(mut args: Args) -> Outcome {
    let dir = args.text("DIR")?;
    let fuse = File::options().read(true).write(true).open("/dev/fuse");
    let fuse = fuse.map_err(|why| format!("/dev/fuse: {why}"))?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0\0", fuse.as_raw_fd());
    let place = std::ffi::CString::new(dir.clone()).map_err(|why| why.to_string())?;
    let nothing = std::ptr::null();
    // SAFETY: C strings that outlive the calls.
    unsafe {
        sys::check("unshare", libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let root = libc::mount(nothing, c"/".as_ptr(), nothing, private, nothing.cast());
        sys::check("mount /", root)?;
        let kind = c"fuse".as_ptr();
        let mounted = libc::mount(kind, place.as_ptr(), kind, 0, options.as_ptr().cast());
        sys::check("mount", mounted)?;
    }
    let device = fuse.as_raw_fd();
    let binder = sys::fork_tied(|| {
        // With a copy of it, this process would keep alive what it waits for, and could not be killed.
        // SAFETY: nothing in this process uses it.
        unsafe { libc::close(device) };
        sys::say("ready", 1);
        let Ok(wish) = Wish::parse(&["unix".to_owned(), format!("{dir}/socket")]) else {
            return 98;
        };
        let refused = wish.open().is_ok_and(|fd| wish.bind(fd).is_err());
        sys::say("refused", i32::from(refused));
        sys::pause_for_good()
    })?;
    sys::say_pid("child_pid", binder);
    answer_lookups(fuse).map_err(|why| format!("FUSE: {why}"))?;
    sys::pause_for_good()
}

/// Requests of uapi/linux/fuse.h.
const LOOKUP: u32 = 1;
const INIT: u32 = 26;

/// Answers the first two requests, INIT and the LOOKUP of the bind, with a socket's file that is to be asked for again each time.
fn answer_lookups(mut fuse: File) -> std::io::Result<()> {
    let mut request = vec![0; 1 << 17];
    loop {
        let _read = fuse.read(&mut request)?;
        let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|n| request[at + n]));
        let (opcode, unique) = (word(4), &request[8..16]);
        let mut body = match opcode {
            // fuse_init_out: major and minor version, and zeros.
            INIT => [7_u32.to_ne_bytes(), 31_u32.to_ne_bytes()].concat(),
            // fuse_entry_out: node 2, no validity, and its attributes.
            LOOKUP => {
                let mut entry = vec![0; 128];
                entry[..8].copy_from_slice(&2_u64.to_ne_bytes());
                entry[40..48].copy_from_slice(&2_u64.to_ne_bytes());
                let mode: u32 = libc::S_IFSOCK | 0o777;
                entry[100..104].copy_from_slice(&mode.to_ne_bytes());
                entry[104..108].copy_from_slice(&1_u32.to_ne_bytes());
                entry
            }
            _ => Vec::new(),
        };
        if opcode == INIT {
            body.resize(64, 0);
        }
        // Anything else is no function of this file system (ENOSYS).
        let error: i32 = if body.is_empty() { -38 } else { 0 };
        let len = u32::try_from(16 + body.len()).unwrap_or(0);
        let head = [&len.to_ne_bytes()[..], &error.to_ne_bytes(), unique].concat();
        fuse.write_all(&[head, body].concat())?;
        if opcode == LOOKUP {
            // The descriptor stays open: the file system is there, and answers no more.
            std::mem::forget(fuse);
            return Ok(());
        }
    }
}
