//! Loads of processes that end.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::ptr;
use std::sync::OnceLock;

use crate::sys;

/// fork, _exit, wait.
pub(super) fn fork_exit(number: u64) -> Result<u64, String> {
    for _ in 0..number {
        sys::reap(sys::fork(|| 0)?)?;
    }
    Ok(number)
}

/// fork, wait for a signal, be ended by it: by turns SIGKILL and SIGTERM.
pub(super) fn killed(number: u64) -> Result<u64, String> {
    for n in 0..number {
        let child = sys::fork_tied(|| sys::pause_for_good())?;
        let signal = if n % 2 == 0 { libc::SIGKILL } else { libc::SIGTERM };
        sys::kill(child, signal)?;
        sys::reap(child)?;
    }
    Ok(number)
}

static TINY: OnceLock<CString> = OnceLock::new();

/// posix_spawn of a program of one page, wait.
pub(super) fn spawn(number: u64) -> Result<u64, String> {
    for _ in 0..number {
        spawn_one()?;
    }
    Ok(number)
}

pub(super) fn spawn_one() -> Result<(), String> {
    let path = TINY.get().ok_or("the tiny program was not written")?;
    let words = [path.as_c_str(), c"--listen", c"127.0.0.1:8080", c"--workers", c"4"];
    let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    argv.push(ptr::null_mut());
    let environment = [ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: the lists end in null, their strings outlive the call, no actions and no attributes are given.
    let failed = unsafe {
        let (argv, environment) = (argv.as_ptr(), environment.as_ptr());
        libc::posix_spawn(&raw mut pid, path.as_ptr(), ptr::null(), ptr::null(), argv, environment)
    };
    if failed != 0 {
        return Err(format!("posix_spawn: {}", std::io::Error::from_raw_os_error(failed)));
    }
    sys::reap(pid).map(drop)
}

/// Writes the tiny program, before anybody forks: an open descriptor for writing would be `ETXTBSY`.
pub(super) fn prepare() -> Result<(), String> {
    let path = tiny_path();
    let written = fs::write(&path, tiny())
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
    written.map_err(|why| format!("{}: {why}", path.display()))?;
    let path = CString::new(path.into_os_string().into_vec()).map_err(|why| why.to_string())?;
    TINY.get_or_init(|| path);
    Ok(())
}

pub(super) fn tidy() {
    // Whatever is left is in a folder for such things.
    let _ = fs::remove_file(tiny_path());
}

/// Named as this process is (`named NAME bench …`), so that whoever counts the dead knows them.
fn tiny_path() -> PathBuf {
    let name = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    std::env::temp_dir().join(format!("{}-tiny", name.trim_end()))
}

/// An ELF file that is one segment: `exit_group(0)`.
fn tiny() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    #[cfg(target_arch = "x86_64")]
    // mov eax, 231; xor edi, edi; syscall
    let (machine, code): (u16, &[u8]) = (62, &[0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    #[cfg(not(target_arch = "x86_64"))]
    // mov x8, 94; mov x0, 0; svc 0
    let (machine, code): (u16, &[u8]) =
        (183, &[0xc8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4]);
    let length = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, values: &[u16]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    half(&mut file, &[2, machine, 1, 0]);
    for value in [BASE + HEADERS, 64, 0] {
        file.extend(value.to_le_bytes());
    }
    half(&mut file, &[0, 0, 64, 56, 1, 0, 0, 0]);
    // Loaded from the file's beginning, readable and executable.
    half(&mut file, &[1, 0, 5, 0]);
    for value in [0, BASE, BASE, length, length, 4096] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}
