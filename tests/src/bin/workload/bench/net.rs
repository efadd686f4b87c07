//! Loads of sockets, on loopback only.

use std::io::{Read as _, Write as _};
use std::mem::size_of_val;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use crate::sys;

/// Connect, accept, close both.
pub(super) fn connect(number: u64) -> Result<u64, String> {
    let (listener, address) = listen()?;
    for _ in 0..number {
        exchange(&listener, address, &[])?;
    }
    Ok(0)
}

pub(super) fn listen() -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|why| why.to_string())?;
    let address = listener.local_addr().map_err(|why| why.to_string())?;
    Ok((listener, address))
}

/// One connection that carries `text` to the server and back.
pub(super) fn exchange(
    listener: &TcpListener,
    address: SocketAddr,
    text: &[u8],
) -> Result<(), String> {
    let talk = || {
        let mut client = TcpStream::connect(address)?;
        let (mut served, _) = listener.accept()?;
        if !text.is_empty() {
            let mut heard = vec![0; text.len()];
            client.write_all(text)?;
            served.read_exact(&mut heard)?;
            served.write_all(&heard)?;
            client.read_exact(&mut heard)?;
        }
        // Closed by a reset: TIME_WAIT would use up the ports within a second.
        set(&client, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 });
        Ok(())
    };
    talk().map_err(|why: std::io::Error| format!("a connection: {why}"))
}

fn set<T>(stream: &TcpStream, option: i32, value: &T) {
    let length = libc::socklen_t::try_from(size_of_val(value)).unwrap_or_default();
    // SAFETY: `value` outlives the call, and `length` is its size.
    unsafe {
        let value = std::ptr::from_ref(value).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, option, value, length);
    }
}

/// socket, bind to a port that the kernel chooses, close: nobody begins to serve.
pub(super) fn bind(number: u64) -> Result<u64, String> {
    for _ in 0..number {
        bind_once(0)?;
    }
    Ok(0)
}

/// The same on a port that somebody serves: refused each time.
pub(super) fn refused(number: u64) -> Result<u64, String> {
    let (_listener, address) = listen()?;
    for _ in 0..number {
        if bind_once(address.port()).is_ok() {
            return Err("a bind that must be refused was not".to_owned());
        }
    }
    Ok(0)
}

fn bind_once(port: u16) -> Result<(), String> {
    // SAFETY: `address` outlives the calls, and its size is given; the descriptor is this function's own.
    unsafe {
        let fd = sys::check("socket", libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0))?;
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
        address.sin_port = port.to_be();
        address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
        let length = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or_default();
        let bound = libc::bind(fd, (&raw const address).cast(), length);
        let outcome = sys::check("bind", bound).map(drop);
        libc::close(fd);
        outcome
    }
}
