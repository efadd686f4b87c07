//! Reports to the service manager (sd_notify(3)): ready, stopping, watchdog, and one line of status. It also keeps descriptors for
//! the next run (systemd's file descriptor store).

use std::{
    env, io,
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, FromRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;
use tokio::time::Interval;

use crate::kernel::handover::Handover;

const SOCKET: &str = "NOTIFY_SOCKET";
/// Most descriptors of one message: the kernel's own bound is 253.
const DESCRIPTORS: usize = 64;

/// What `systemctl status` shows.
#[derive(Default)]
pub(super) struct Manager {
    /// What it was last; empty: nothing yet.
    status: String,
}

impl Manager {
    /// Reports whether events are stored, when that has changed.
    pub(super) fn say(&mut self, stopped: Option<String>) {
        let status =
            stopped.map_or_else(|| "recording".to_owned(), |why| format!("NOT RECORDING: {why}"));
        if self.status != status {
            notify(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

pub(super) fn notify(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to notify.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not notified");
    }
}

/// What the manager kept, and how to have it keep more; `None` without one. `stored`: the last event of the store. To be called
/// once, at the start.
pub(super) fn handover(stored: Option<u64>) -> Option<Handover> {
    env::var_os(SOCKET)?;
    let given = sd_notify::listen_fds_with_names()
        .inspect_err(|error| tracing::warn!(%error, "what the service manager kept can't be used"));
    let owned = |(descriptor, name)| {
        // SAFETY: the manager opened these for this process alone, and this is called once.
        (name, unsafe { OwnedFd::from_raw_fd(descriptor) })
    };
    let given = given.map(|given| given.map(owned).collect()).unwrap_or_default();
    Some(Handover { given, keep, forget, stored })
}

/// Has the manager keep these descriptors until the unit is stopped, and hand them to each run.
fn keep(name: &str, descriptors: &[BorrowedFd<'_>]) {
    for some in descriptors.chunks(DESCRIPTORS) {
        // Without FDPOLL=0 the manager polls them, and drops one whose other end is gone: these have none.
        if let Err(error) = send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}\n"), some) {
            tracing::warn!(%error, "the next run will not know this one");
        }
    }
}

fn forget(name: &str) {
    if let Err(error) = send(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[]) {
        tracing::warn!(%error, "the service manager keeps programs of an earlier run");
    }
}

fn send(state: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let Some(path) = env::var_os(SOCKET) else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut more = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() && !more.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let text = [io::IoSlice::new(state.as_bytes())];
    sendmsg(&socket, &text, &mut more, SendFlags::NOSIGNAL)?;
    Ok(())
}

pub(super) async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => drop(watchdog.tick().await),
        None => std::future::pending().await,
    }
}
