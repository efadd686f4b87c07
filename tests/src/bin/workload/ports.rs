//! Processes that hold ports, and processes that are refused one.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;

use libc::c_int;

use crate::args::Args;
use crate::socket::{self, Refusal, Wish};
use crate::{Command, Outcome, sys};

pub(crate) const COMMANDS: &[Command] = &[
    ("hold", hold),
    ("bind", bind),
    ("bind-stay", bind_stay),
    ("bind-twice", bind_twice),
    ("hold-and-go", hold_and_go),
    ("listen-fails", listen_fails),
    ("orphan", orphan),
    ("sharers", sharers),
    ("time-wait", time_wait),
    ("half-closed", half_closed),
    ("client", client),
    ("stale", stale),
    ("crowd", crowd),
    ("busy-server", busy_server),
];

fn serve(wish: &Wish) -> Result<c_int, String> {
    let fd = wish.open()?;
    let error = std::io::Error::from_raw_os_error;
    wish.serve(fd).map_err(|Refusal { call, errno }| format!("{call}: {}", error(errno)))?;
    sys::say("port", socket::port(fd));
    sys::say("fd", fd);
    Ok(fd)
}

fn tell(refusal: &Refusal) {
    sys::say("call", refusal.call);
    sys::say("errno", refusal.errno);
}

/// `hold tcp|udp|unix|abstract ADDRESS FLAG…`: serves it, says `port`, `fd` and `ready=1`, and waits.
/// Flags: reuseaddr reuseport v6only mptcp bind-only device=NAME by-uring by-ia32.
fn hold(args: Args) -> Outcome {
    serve(&Wish::parse(&args.rest()?)?)?;
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `bind N tcp|udp|… ADDRESS FLAG…`: tries N times with a new socket each. Says the last refusal and `refused`, the
/// number of refusals; exits with 1 when there was none.
fn bind(mut args: Args) -> Outcome {
    let times: usize = args.number("N")?;
    let wish = Wish::parse(&args.rest()?)?;
    let mut last = None;
    let mut refused = 0;
    for _ in 0..times {
        let fd = wish.open()?;
        if let Err(refusal) = wish.serve(fd) {
            last = Some(refusal);
            refused += 1;
        }
        // SAFETY: nobody else knows this descriptor.
        unsafe { libc::close(fd) };
    }
    if let Some(refusal) = &last {
        tell(refusal);
    }
    sys::say("refused", refused);
    Ok(i32::from(last.is_none()))
}

/// `bind-stay tcp|udp|… ADDRESS FLAG…`: is refused, says `ready=1` and waits.
fn bind_stay(args: Args) -> Outcome {
    let wish = Wish::parse(&args.rest()?)?;
    match wish.serve(wish.open()?) {
        Ok(()) => Err("it was not refused".to_owned()),
        Err(refusal) => {
            tell(&refusal);
            sys::say("ready", 1);
            sys::pause_for_good()
        }
    }
}

/// `hold-and-go ADDRESS`: one child serves a TCP port, another is refused it and at once kills the first and exits: a
/// scan finds neither.
fn hold_and_go(mut args: Args) -> Outcome {
    let address = args.text("ADDRESS")?;
    let (mut reader, mut writer) = std::io::pipe().map_err(|why| why.to_string())?;
    let wish = Wish::parse(&["tcp".to_owned(), address.clone()])?;
    let holder = sys::fork_tied(|| {
        let Ok(fd) = serve(&wish) else { return 1 };
        let written = writer.write_all(&socket::port(fd).to_ne_bytes());
        if written.is_ok() { sys::pause_for_good() } else { 1 }
    })?;
    sys::say_pid("holder_pid", holder);
    let mut port = [0; 2];
    reader.read_exact(&mut port).map_err(|why| why.to_string())?;
    let taken = address.replace(":0", &format!(":{}", u16::from_ne_bytes(port)));
    let wish = Wish::parse(&["tcp".to_owned(), taken])?;
    let fd = wish.open()?;
    let refused = sys::fork(|| {
        let code = i32::from(wish.serve(fd).is_ok());
        i32::from(sys::kill(holder, libc::SIGKILL).is_err()) + code
    })?;
    sys::say_pid("refused_pid", refused);
    sys::reap(holder)?;
    Ok(sys::shell_status(sys::reap(refused)?))
}

/// `bind-twice stay|leave ADDRESS`: holds a TCP port and is refused the same port; then says `ready=1` and waits, or
/// exits.
fn bind_twice(mut args: Args) -> Outcome {
    let stays = args.text("stay|leave")? == "stay";
    let address = args.text("ADDRESS")?;
    let held = serve(&Wish::parse(&["tcp".to_owned(), address.clone()])?)?;
    let again = address.replace(":0", &format!(":{}", socket::port(held)));
    let wish = Wish::parse(&["tcp".to_owned(), again])?;
    match wish.serve(wish.open()?) {
        Ok(()) => return Err("it was not refused".to_owned()),
        Err(refusal) => tell(&refusal),
    }
    sys::say("ready", 1);
    if stays { sys::pause_for_good() } else { Ok(0) }
}

/// `listen-fails self|other tcp ADDRESS reuseaddr…`: two sockets are bound to one port, which `reuseaddr` allows.
/// This process or a child listens on the first; the listen on the second is refused.
fn listen_fails(mut args: Args) -> Outcome {
    let other = args.text("self|other")? == "other";
    let mut words = args.rest()?;
    let first = Wish::parse(&words)?;
    let first_fd = first.open()?;
    first.bind(first_fd).map_err(|refusal| format!("first bind: errno {}", refusal.errno))?;
    let port = socket::port(first_fd);
    sys::say("port", port);
    if let Some(address) = words.get_mut(1) {
        *address = address.replace(":0", &format!(":{port}"));
    }
    let second = Wish::parse(&words)?;
    let second_fd = second.open()?;
    second.bind(second_fd).map_err(|refusal| format!("second bind: errno {}", refusal.errno))?;
    let listen_first = || socket::listen(first_fd).map_err(|refusal| refusal.errno.to_string());
    if other {
        let (mut reader, writer) = std::io::pipe().map_err(|why| why.to_string())?;
        let child = sys::fork_tied(|| {
            // SAFETY: the child has no use for it, and must not share it.
            unsafe { libc::close(second_fd) };
            if listen_first().is_err() || Write::write_all(&mut &writer, b"x").is_err() {
                return 1;
            }
            sys::pause_for_good()
        })?;
        sys::say_pid("child_pid", child);
        reader.read_exact(&mut [0]).map_err(|why| why.to_string())?;
        // SAFETY: the child has its own copy.
        unsafe { libc::close(first_fd) };
    } else {
        listen_first()?;
    }
    match socket::listen(second_fd) {
        Ok(()) => Err("the second listen was allowed".to_owned()),
        Err(refusal) => {
            tell(&refusal);
            sys::say("ready", 1);
            sys::pause_for_good()
        }
    }
}

/// `orphan tcp ADDRESS FLAG…`: the parent opens the listener, a child keeps it, the parent exits.
fn orphan(args: Args) -> Outcome {
    serve(&Wish::parse(&args.rest()?)?)?;
    let child = sys::fork(|| sys::pause_for_good())?;
    sys::say_pid("child_pid", child);
    Ok(0)
}

/// `sharers tcp ADDRESS FLAG…`: parent and child share one listener. Says `child_pid` and `ready=1`; the child
/// outlives its parent.
fn sharers(args: Args) -> Outcome {
    serve(&Wish::parse(&args.rest()?)?)?;
    let child = sys::fork(|| sys::pause_for_good())?;
    sys::say_pid("child_pid", child);
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// A listener without `SO_REUSEADDR`, which the standard library would set.
fn plain_listener(address: &str) -> Result<TcpListener, String> {
    let wish = Wish::parse(&["tcp".to_owned(), address.to_owned()])?;
    let fd = wish.open()?;
    wish.serve(fd).map_err(|refusal| format!("errno {}", refusal.errno))?;
    // SAFETY: nobody else knows this descriptor.
    Ok(unsafe { TcpListener::from_raw_fd(fd) })
}

/// A listener, a client of it, and the accepted connection.
fn connection(listener: TcpListener) -> Result<(TcpListener, TcpStream, TcpStream), String> {
    let connect = || {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (served, _) = listener.accept()?;
        sys::say("port", listener.local_addr()?.port());
        Ok((listener, client, served))
    };
    connect().map_err(|why: std::io::Error| why.to_string())
}

/// `time-wait ADDRESS [plain]`: serves one client, closes first, and exits. A connection in `TIME_WAIT` remains,
/// without a process. `plain`: without `SO_REUSEADDR`.
fn time_wait(mut args: Args) -> Outcome {
    let address = args.text("ADDRESS")?;
    let listener = match args.rest()?.first().map(String::as_str) {
        Some("plain") => plain_listener(&address)?,
        _ => TcpListener::bind(&address).map_err(|why| why.to_string())?,
    };
    let (listener, mut client, mut served) = connection(listener)?;
    let mut close = || {
        served.shutdown(Shutdown::Write)?;
        client.read_to_end(&mut Vec::new())?;
        client.shutdown(Shutdown::Write)?;
        served.read_to_end(&mut Vec::new())
    };
    close().map_err(|why| why.to_string())?;
    drop((listener, client, served));
    Ok(0)
}

/// `half-closed ADDRESS`: the server closes its listener and its connection, the client keeps its end: the port is in
/// `FIN_WAIT2`, without a process. Says `ready=1` and waits.
fn half_closed(mut args: Args) -> Outcome {
    let listener = TcpListener::bind(args.text("ADDRESS")?).map_err(|why| why.to_string())?;
    let (listener, mut client, served) = connection(listener)?;
    drop((listener, served));
    client.read_to_end(&mut Vec::new()).map_err(|why| why.to_string())?;
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// `client ADDRESS`: connects, says `ready=1`, and keeps the connection.
fn client(mut args: Args) -> Outcome {
    let connection = TcpStream::connect(args.text("ADDRESS")?).map_err(|why| why.to_string())?;
    sys::say("ready", 1);
    let pause: fn(&TcpStream) -> ! = |_| sys::pause_for_good();
    pause(&connection)
}

/// `stale PATH`: leaves the file of a unix socket without a server.
fn stale(mut args: Args) -> Outcome {
    let path = args.text("PATH")?;
    serve(&Wish::parse(&["unix".to_owned(), path])?)?;
    Ok(0)
}

/// `crowd PROCESSES SOCKETS`: so many children serve so many TCP sockets each, each child on its own address of
/// 127.0.0.0/8. Says `ready=1` and waits; the children end with it.
fn crowd(mut args: Args) -> Outcome {
    let (processes, sockets): (u32, u16) = (args.number("PROCESSES")?, args.number("SOCKETS")?);
    let (mut reader, writer) = std::io::pipe().map_err(|why| why.to_string())?;
    for number in 1..=processes {
        let address = std::net::Ipv4Addr::from(0x7f01_0000 + number);
        let child = sys::fork_tied(|| {
            let listen = |port| TcpListener::bind((address, CROWD_PORT + port));
            let served: Result<Vec<_>, _> = (0..sockets).map(listen).collect();
            let written = served.is_ok() && Write::write_all(&mut &writer, b"x").is_ok();
            if written { sys::pause_for_good() } else { 1 }
        })?;
        if number == processes {
            sys::say_pid("last_pid", child);
        }
    }
    drop(writer);
    let mut serving = vec![0; processes as usize];
    reader.read_exact(&mut serving).map_err(|why| format!("a child could not serve: {why}"))?;
    sys::say("port", CROWD_PORT);
    sys::say("ready", 1);
    sys::pause_for_good()
}

/// The first port of each child of a crowd.
const CROWD_PORT: u16 = 20_000;

/// `busy-server CONNECTIONS`: serves with so many open connections, and waits. Its exit takes a while.
fn busy_server(mut args: Args) -> Outcome {
    let wanted: u64 = args.number("CONNECTIONS")?;
    sys::set_limit(libc::RLIMIT_NOFILE, wanted * 2 + 64, wanted * 2 + 64)?;
    serve(&Wish::parse(&["tcp".to_owned(), "127.0.0.1:0".to_owned()])?)?;
    let pairs: Result<Vec<_>, _> = (0..wanted).map(|_| UnixStream::pair()).collect();
    let _pairs = pairs.map_err(|why| format!("connections: {why}"))?;
    sys::say("ready", 1);
    sys::pause_for_good()
}
