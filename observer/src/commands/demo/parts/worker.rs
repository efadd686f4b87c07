//! A worker: serves a port, and answers every request with a line, until one of them makes it grow.

use std::{
    fs,
    hint::black_box,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::io::{FdFlags, fcntl_setfd};

use super::{die_with_parent, name, part, report, wait};
use crate::{error::status, logging};

/// The request that is too much.
pub(in crate::commands::demo) const GROW: &str = "grow";

/// It grows by so much at a time,
const STEP_BYTES: usize = 1 << 20;
/// with so much time in between: a person sees that something is going on.
const STEP: Duration = Duration::from_millis(15);
/// Longest wait for what a client says.
const PATIENCE: Duration = Duration::from_millis(500);

/// The worker that will be killed.
pub(super) fn first(most_bytes: u64, group: Option<&Path>) -> Result<()> {
    die_with_parent()?;
    name(c"demo-worker")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("can't serve a port")?;
    // The mistake: a child that inherits the listening socket.
    fcntl_setfd(&listener, FdFlags::empty()).context("can't pass the socket on")?;
    let _holder = part("holder").spawn().context("can't start the holder")?;
    // After the holder began: only this process may be in the group, and be chosen there.
    if let Some(group) = group {
        fs::write(group.join("cgroup.procs"), "0").context("can't join the memory group")?;
    }
    // Should another limit be hit meanwhile, above the group, nobody else is to die of it.
    fs::write("/proc/self/oom_score_adj", "1000").context("can't volunteer for the OOM killer")?;
    report("worker", Some(listener.local_addr()?.port()))?;
    serve(&listener, most_bytes)
}

/// One that takes over, if it can.
pub(super) fn replacement(port: u16) -> Result<u8> {
    die_with_parent()?;
    name(c"demo-new-worker")?;
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) => {
            // What the log of the application has: no word of who holds it.
            logging::say(&format!("   (its log: ERROR: can't bind 127.0.0.1:{port}: {error})"));
            report("refused", None)?;
            Ok(status::NO_MATCH)
        }
        Ok(listener) => {
            report("serving", None)?;
            serve(&listener, 0)?;
            Ok(status::DONE)
        }
    }
}

fn serve(listener: &TcpListener, most_bytes: u64) -> Result<()> {
    while wait(Some(listener))? {
        // A client that is gone already, or silent, is its own fault.
        let Ok((client, _)) = listener.accept() else { continue };
        if answer(client).is_ok_and(|request| request.starts_with(GROW.as_bytes())) {
            grow(most_bytes);
        }
    }
    Ok(())
}

fn answer(mut client: TcpStream) -> std::io::Result<Vec<u8>> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = [0; 16];
    let read = client.read(&mut request)?;
    client.write_all(b"here\n")?;
    Ok(request[..read].to_vec())
}

/// Uses so much memory; in a group with a limit it does not get that far.
fn grow(most_bytes: u64) {
    let mut memory = Vec::new();
    for _ in 0..most_bytes / STEP_BYTES as u64 {
        // Written to, for memory that nobody touches is not there.
        memory.push(black_box(vec![1_u8; STEP_BYTES]));
        thread::sleep(STEP);
    }
}
