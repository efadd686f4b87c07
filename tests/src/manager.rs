//! A stand-in for the service manager: its notify socket, and the descriptors that it keeps for a service from one run to the next
//! (systemd's file descriptor store).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where the first descriptor of a service is, by the protocol.
const FIRST: RawFd = 3;
/// Descriptors are moved here first, so that none is in the way of another.
const ASIDE: RawFd = 200;
/// Most descriptors of one message.
const MOST: usize = 64;

/// What the manager keeps. On drop it is closed, as when a unit is stopped.
#[derive(Debug, Default)]
pub struct Kept(Vec<(String, OwnedFd)>);

impl Kept {
    /// The names, in the order in which they came.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Keeps a file that no service asked for.
    pub fn add(&mut self, name: &str, path: &str) {
        self.0.push((name.to_owned(), File::open(path).expect("it can be opened").into()));
    }

    /// Gives all names another beginning.
    pub fn rename(&mut self, from: &str, to: &str) {
        for (name, _) in &mut self.0 {
            *name = name.replacen(from, to, 1);
        }
    }

    /// The command, which gets all of it.
    pub(crate) fn hand_to(&self, command: &Command) -> Command {
        // Only the process itself knows its pid.
        let mut wrapped = Command::new("sh");
        wrapped.args(["-c", "export LISTEN_PID=$$; exec \"$@\"", "sh"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        wrapped.env("LISTEN_FDS", self.0.len().to_string());
        wrapped.env("LISTEN_FDNAMES", self.names().join(":"));
        let descriptors: Vec<RawFd> = self.0.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        // SAFETY: between fork and exec only system calls are made.
        unsafe { wrapped.pre_exec(move || place(&descriptors)) };
        wrapped
    }
}

/// Gives the descriptors their places, where they survive exec.
fn place(descriptors: &[RawFd]) -> io::Result<()> {
    let done = |result: i32| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
    for (place, descriptor) in (ASIDE..).zip(descriptors) {
        // SAFETY: takes integers; the place is free or of no more use.
        done(unsafe { libc::dup3(*descriptor, place, libc::O_CLOEXEC) })?;
    }
    for (place, (aside, _)) in (FIRST..).zip((ASIDE..).zip(descriptors)) {
        // SAFETY: as above.
        done(unsafe { libc::dup2(aside, place) })?;
    }
    Ok(())
}

/// The notify socket of one service.
pub(crate) struct Mailbox {
    socket: UnixDatagram,
    pub(crate) kept: Kept,
}

impl Mailbox {
    pub(crate) fn bind(path: &Path, kept: Kept) -> Self {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).expect("room for a socket");
        let tick = Some(Duration::from_millis(50));
        socket.set_read_timeout(tick).expect("a span that is not zero");
        Self { socket, kept }
    }

    /// The next message; does with its descriptors what it says.
    pub(crate) fn receive(&mut self) -> io::Result<String> {
        let (text, descriptors) = receive(&self.socket)?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let name = value("FDNAME=").unwrap_or("stored").to_owned();
        if value("FDSTORE=") == Some("1") {
            assert_eq!(value("FDPOLL="), Some("0"), "{text}");
            self.kept.0.extend(descriptors.into_iter().map(|fd| (name.clone(), fd)));
        } else if value("FDSTOREREMOVE=") == Some("1") {
            self.kept.0.retain(|(known, _)| *known != name);
        }
        Ok(text)
    }

    /// All that was sent by a service that has ended, and what it left.
    pub(crate) fn into_the_rest(mut self) -> (Vec<String>, Kept) {
        self.socket.set_nonblocking(true).expect("a socket");
        let texts = std::iter::from_fn(|| self.receive().ok()).collect();
        (texts, self.kept)
    }
}

/// A message and its descriptors.
fn receive(socket: &UnixDatagram) -> io::Result<(String, Vec<OwnedFd>)> {
    const ROOM: usize = 64 + MOST * size_of::<RawFd>();
    let mut text = [0_u8; 4096];
    // Aligned as the header of a control message wants it.
    let mut control = [0_u64; ROOM / size_of::<u64>()];
    let mut piece = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: size_of_val(&text) };
    // SAFETY: zeros are a valid value of a structure of numbers and pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: all that `message` points to outlives the call and is as long as said.
    let length =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };
    assert_eq!(message.msg_flags & libc::MSG_CTRUNC, 0, "more descriptors than there is room for");
    let mut descriptors = Vec::new();
    // SAFETY: the kernel filled the buffer, and the macros of cmsg(3) stay inside it; the descriptors are new and nobody else's.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let data = libc::CMSG_DATA(header);
                let len = found.cmsg_len - (data.addr() - header.addr());
                let bytes = std::slice::from_raw_parts(data, len);
                let (numbers, _) = bytes.as_chunks();
                let numbers = numbers.iter().map(|bytes| RawFd::from_ne_bytes(*bytes));
                descriptors.extend(numbers.map(|number| OwnedFd::from_raw_fd(number)));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((String::from_utf8_lossy(&text[..length]).into_owned(), descriptors))
}
