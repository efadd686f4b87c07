//! Who holds which port, from a scan, in the public vocabulary: what `observer ports` shows.

use anyhow::Result;
use observer_common::socket::STATE_CLOSE;
use serde::{Deserialize, Serialize};

use crate::{
    decode::{self, Descriptor, Endpoint},
    diagnose::relation,
    enrich::{
        self, Enricher, Users, procfs,
        scan::{Budget, Held, Scan},
        unheld::unheld,
    },
    kernel::{Kernel, clock::Clock, load::Options},
    logging,
    model::{Process, Socket},
};

/// One line of `--json`: a socket and everybody who holds it. Nobody: the kernel's own, or one that is on its way.
#[derive(Debug, Serialize, Deserialize)]
pub struct PortLine {
    /// The socket.
    pub socket: Socket,
    /// Who holds it.
    pub holders: Vec<PortHolder>,
}

/// A process that holds the socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct PortHolder {
    /// The process.
    pub process: Process,
    /// Its lowest descriptor.
    pub fd: u32,
    /// It got the socket from its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherited: Option<bool>,
}

/// Makes a scan with programs of our own, and lists what it has found.
pub fn own(ports: &[u16]) -> Result<Vec<PortLine>> {
    let mut kernel = Kernel::load(Options { holders_only: true, ..Options::default() })?;
    let scan = Scan::read(kernel.open_holders(ports)?, &Budget::ALONE)?;
    if scan.left_out > 0 {
        let left_out = crate::model::human::count(scan.left_out, "descriptor");
        logging::say(&format!(
            "observer: too many sockets: {left_out} had no room and are not shown"
        ));
    }
    drop(kernel);
    Ok(lines(&scan, ports, false))
}

/// Sockets that serve or are bound, or everything on `ports`; sorted. Reads `/proc`; `careful`: without arguments, see
/// [`procfs::ProcessCache`].
#[must_use]
pub fn lines(scan: &Scan, ports: &[u16], careful: bool) -> Vec<PortLine> {
    let mut enricher = Enricher::new(Users::of_this_host(), Clock::new());
    let mut known = procfs::ProcessCache::new(careful);
    let held = scan.sockets.iter().filter(|held| wanted(ports, held));
    let mut lines: Vec<PortLine> = held.map(|held| line(held, &mut known, &mut enricher)).collect();
    let unheld = unheld(scan, ports).into_iter();
    lines.extend(unheld.map(|socket| PortLine { socket, holders: Vec::new() }));
    lines.sort_by_key(|line| {
        (line.socket.protocol, line.socket.port, line.socket.netns, line.socket.name())
    });
    lines
}

fn wanted(ports: &[u16], held: &Held) -> bool {
    if ports.is_empty() {
        return held.socket.serves() || is_bound(&held.socket);
    }
    held.socket.endpoint().port().is_some_and(|port| ports.contains(&port))
}

/// Whether it keeps others from its address without serving there.
fn is_bound(socket: &decode::KernelSocket) -> bool {
    socket.0.state == STATE_CLOSE
        && match socket.endpoint() {
            Endpoint::Inet(_, port) => port != 0,
            Endpoint::Path(_) | Endpoint::Abstract(_) => true,
            Endpoint::Unknown => false,
        }
}

fn line(held: &Held, known: &mut procfs::ProcessCache, enricher: &mut Enricher) -> PortLine {
    let pids: Vec<u32> = held.holders.iter().map(|h| h.record.tgid).collect();
    let mut holders: Vec<PortHolder> =
        held.holders.iter().map(|h| holder(h, &pids, known, enricher)).collect();
    holders.sort_by_key(|holder| (holder.inherited == Some(true), holder.process.pid));
    PortLine { socket: enrich::socket::bound(&held.socket), holders }
}

fn holder(
    descriptor: &Descriptor,
    pids: &[u32],
    known: &mut procfs::ProcessCache,
    enricher: &mut Enricher,
) -> PortHolder {
    let living = known.living(descriptor.id());
    let process = match &living {
        Some(living) => enricher.process(&living.task),
        None => enricher.named(
            descriptor.id(),
            crate::decode::until_nul(&descriptor.record.comm),
            "the process was gone before it could be read",
        ),
    };
    let candidate = relation::Candidate {
        holder: descriptor,
        living: living.as_ref(),
        process: &process,
        opener: None,
        parent_holds: pids.contains(&descriptor.record.ppid),
        children_hold: false,
        opener_holds: false,
    };
    let inherited = relation::inherited(&candidate);
    PortHolder { fd: descriptor.record.fd, inherited, process }
}
