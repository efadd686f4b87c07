//! One socket as the command line describes it, by bare system calls: the standard library sets
//! options of its own accord (`SO_REUSEADDR`) and knows neither MPTCP nor a bind without listen.

use std::mem::size_of;
use std::net::SocketAddr;

use libc::{c_int, c_void, sockaddr_storage, socklen_t};

use crate::sys;
use crate::ways::Way;

/// Where to bind.
enum Place {
    Inet(SocketAddr),
    Path(String),
    Abstract(String),
}

/// `tcp|udp|unix|abstract ADDRESS FLAG…`
pub(crate) struct Wish {
    kind: c_int,
    protocol: c_int,
    place: Place,
    flags: Vec<String>,
}

/// The call that was refused, and its errno.
pub(crate) struct Refusal {
    pub(crate) call: &'static str,
    pub(crate) errno: c_int,
}

impl Wish {
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let [protocol, address, flags @ ..] = words else {
            return Err("tcp|udp|unix|abstract ADDRESS FLAG… is missing".to_owned());
        };
        let known =
            ["reuseaddr", "reuseport", "v6only", "mptcp", "bind-only", "by-uring", "by-ia32"];
        for flag in flags {
            if !known.contains(&flag.as_str()) && !flag.starts_with("device=") {
                return Err(format!("no such flag: {flag}"));
            }
        }
        let inet = || address.parse().map(Place::Inet).map_err(|why| format!("{address}: {why}"));
        let place = match protocol.as_str() {
            "tcp" | "udp" => inet()?,
            "unix" => Place::Path(address.clone()),
            "abstract" => Place::Abstract(address.clone()),
            other => return Err(format!("no such protocol: {other}")),
        };
        let kind = if protocol == "udp" { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
        let mptcp = flags.iter().any(|flag| flag == "mptcp");
        let protocol = if mptcp { libc::IPPROTO_MPTCP } else { 0 };
        Ok(Self { kind, protocol, place, flags: flags.to_vec() })
    }

    fn way(&self) -> Way {
        self.flags.iter().find_map(|flag| Way::of_flag(flag)).unwrap_or(Way::Call)
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    /// The socket with its options set, bound to nothing.
    pub(crate) fn open(&self) -> Result<c_int, String> {
        let family = match self.place {
            Place::Inet(SocketAddr::V4(_)) => libc::AF_INET,
            Place::Inet(SocketAddr::V6(_)) => libc::AF_INET6,
            Place::Path(_) | Place::Abstract(_) => libc::AF_UNIX,
        };
        // SAFETY: takes integers.
        let fd = sys::check("socket", unsafe { libc::socket(family, self.kind, self.protocol) })?;
        if self.has("reuseaddr") {
            switch_on(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
        }
        if self.has("reuseport") {
            switch_on(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT)?;
        }
        if self.has("v6only") {
            switch_on(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
        }
        if let Some(device) = self.flags.iter().find_map(|flag| flag.strip_prefix("device=")) {
            option(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device.as_bytes())?;
        }
        Ok(fd)
    }

    pub(crate) fn bind(&self, fd: c_int) -> Result<(), Refusal> {
        let (address, len) = self.place.encode();
        match self.way().bind(fd, &address, len) {
            0 => Ok(()),
            error => Err(Refusal { call: "bind", errno: -error }),
        }
    }

    /// Binds and, where that is what serving means, listens.
    pub(crate) fn serve(&self, fd: c_int) -> Result<(), Refusal> {
        self.bind(fd)?;
        if self.kind == libc::SOCK_DGRAM || self.has("bind-only") {
            return Ok(());
        }
        listen_by(self.way(), fd)
    }
}

impl Place {
    fn encode(&self) -> (sockaddr_storage, socklen_t) {
        // SAFETY: all zeros is a valid address of no family.
        let mut storage: sockaddr_storage = unsafe { std::mem::zeroed() };
        let start = (&raw mut storage).cast::<c_void>();
        let len = match self {
            Self::Inet(SocketAddr::V4(address)) => {
                let raw = libc::sockaddr_in {
                    sin_family: family(libc::AF_INET),
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is larger and aligned for every address.
                unsafe { start.cast::<libc::sockaddr_in>().write(raw) };
                size_of::<libc::sockaddr_in>()
            }
            Self::Inet(SocketAddr::V6(address)) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: family(libc::AF_INET6),
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                // SAFETY: as above.
                unsafe { start.cast::<libc::sockaddr_in6>().write(raw) };
                size_of::<libc::sockaddr_in6>()
            }
            Self::Path(path) => {
                // SAFETY: as above. One byte more than the path: its NUL is already there.
                unsafe { write_unix(start, path.as_bytes(), 0) + 1 }
            }
            // SAFETY: as above. An abstract name begins with a NUL and has no end but its length.
            Self::Abstract(name) => unsafe { write_unix(start, name.as_bytes(), 1) },
        };
        (storage, socklen_t::try_from(len).unwrap_or(0))
    }
}

/// Writes a unix address with `skip` NULs before its name; gives its length.
///
/// # Safety
/// `start` points to zeroed storage for the largest address.
unsafe fn write_unix(start: *mut c_void, name: &[u8], skip: usize) -> usize {
    let at = std::mem::offset_of!(libc::sockaddr_un, sun_path) + skip;
    let room = size_of::<libc::sockaddr_un>() - at - 1;
    let len = name.len().min(room);
    // SAFETY: the caller's promise, and `len` leaves room.
    unsafe {
        start.cast::<libc::sa_family_t>().write(family(libc::AF_UNIX));
        start.cast::<u8>().add(at).copy_from_nonoverlapping(name.as_ptr(), len);
    }
    at + len
}

fn family(number: c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).unwrap_or_default()
}

pub(crate) fn listen(fd: c_int) -> Result<(), Refusal> {
    listen_by(Way::Call, fd)
}

fn listen_by(way: Way, fd: c_int) -> Result<(), Refusal> {
    match way.listen(fd, 16) {
        0 => Ok(()),
        error => Err(Refusal { call: "listen", errno: -error }),
    }
}

fn switch_on(fd: c_int, level: c_int, name: c_int) -> Result<(), String> {
    option(fd, level, name, &1_i32.to_ne_bytes())
}

fn option(fd: c_int, level: c_int, name: c_int, value: &[u8]) -> Result<(), String> {
    let len = socklen_t::try_from(value.len()).map_err(|why| why.to_string())?;
    // SAFETY: the value is as long as said.
    let set = unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), len) };
    sys::check("setsockopt", set).map(drop)
}

/// The port that `fd` is bound to; 0 for a unix socket.
pub(crate) fn port(fd: c_int) -> u16 {
    // SAFETY: all zeros is valid, and the kernel writes at most `len` bytes. The port stands at
    // the same place in an IPv4 and an IPv6 address.
    unsafe {
        let mut raw: libc::sockaddr_in6 = std::mem::zeroed();
        let mut len = socklen_t::try_from(size_of::<libc::sockaddr_in6>()).unwrap_or(0);
        let got = libc::getsockname(fd, (&raw mut raw).cast(), &raw mut len);
        let inet = [libc::AF_INET, libc::AF_INET6].map(family).contains(&raw.sin6_family);
        if got == 0 && inet { u16::from_be(raw.sin6_port) } else { 0 }
    }
}
