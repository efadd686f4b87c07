//! `observer ports`: who holds which port right now, in every network namespace.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::PortsArgs,
    decode::Holder as Descriptor,
    diagnose::{ports::serves, relation},
    enrich::{
        Enricher, procfs,
        snapshot::{Held, Snapshot},
        unheld::{self, unheld},
    },
    error::status,
    kernel::{Kernel, clock::Clock, load::Options},
    model::{Process, Socket, human},
    sinks::{sanitize::sanitize, stdout},
};

/// One line of `--json`.
#[derive(Debug, Serialize)]
struct Line {
    socket: Socket,
    holders: Vec<Holder>,
}

/// A process that holds the socket.
#[derive(Debug, Serialize)]
struct Holder {
    process: Process,
    fd: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    inherited: Option<bool>,
}

/// Makes one pass and shows it.
pub fn run(args: &PortsArgs) -> Result<u8> {
    let mut kernel = Kernel::load(Options { holders_only: true, ..Options::default() })?;
    let iterator = kernel.open_holders(&args.ports)?;
    let snapshot = Snapshot::read(iterator)?;
    drop(kernel);
    let unheld = if args.unit.is_empty() { unheld(&snapshot, &args.ports) } else { Vec::new() };
    let mut enricher = Enricher::new(Clock::new());
    let mut known = procfs::Known::default();
    let mut lines: Vec<Line> = snapshot
        .sockets
        .iter()
        .filter(|held| wanted(args, held))
        .map(|held| line(held, &mut known, &mut enricher))
        .filter(|line| line.holders.iter().any(|holder| args.process(&holder.process)))
        .collect();
    let of_protocol =
        |socket: &Socket| args.protocol.is_empty() || args.protocol.contains(&socket.protocol);
    let unheld = unheld.into_iter().filter(of_protocol);
    lines.extend(unheld.map(|socket| Line { socket, holders: Vec::new() }));
    lines.sort_by_key(|line| {
        (line.socket.protocol, line.socket.port, line.socket.netns, line.socket.name())
    });
    stdout::print(&if args.json { json(&lines)? } else { table(&lines) })?;
    Ok(if lines.is_empty() { status::NO_MATCH } else { status::DONE })
}

fn wanted(args: &PortsArgs, held: &Held) -> bool {
    let socket = &held.socket;
    let shown = Socket::new(socket, &socket.endpoint());
    if !args.protocol.is_empty() && !args.protocol.contains(&shown.protocol) {
        return false;
    }
    if args.ports.is_empty() {
        return serves(socket);
    }
    shown.port.is_some_and(|port| args.ports.contains(&port))
}

fn line(held: &Held, known: &mut procfs::Known, enricher: &mut Enricher) -> Line {
    let pids: Vec<u32> = held.holders.iter().map(|h| h.record.tgid).collect();
    let mut holders: Vec<Holder> =
        held.holders.iter().map(|h| holder(h, &pids, known, enricher)).collect();
    holders.sort_by_key(|holder| (holder.inherited == Some(true), holder.process.pid));
    Line { socket: Socket::new(&held.socket, &held.socket.endpoint()), holders }
}

fn holder(
    descriptor: &Descriptor,
    pids: &[u32],
    known: &mut procfs::Known,
    enricher: &mut Enricher,
) -> Holder {
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
    Holder { fd: descriptor.record.fd, inherited, process }
}

fn json(lines: &[Line]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}

/// One row a holder; a socket's further holders stand under the first.
fn table(lines: &[Line]) -> String {
    let own = unheld::netns_of(std::process::id()).unwrap_or(0);
    let mut rows =
        vec![["SOCKET", "STATE", "PID", "UNIT", "USER", "AGE", "COMMAND"].map(str::to_owned)];
    for line in lines {
        if line.holders.is_empty() {
            rows.push(no_process(name(line, own), state(line)));
        }
        for (n, holder) in line.holders.iter().enumerate() {
            let (name, state) = if n == 0 {
                (name(line, own), state(line))
            } else {
                (String::new(), String::new())
            };
            rows.push(row(name, state, holder));
        }
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(textwrap::core::display_width(cell));
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let pad = width.saturating_sub(textwrap::core::display_width(cell));
            let _ = write!(line, "{cell}{}  ", " ".repeat(pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if lines.is_empty() { "nobody holds it\n".to_owned() } else { text }
}

fn name(line: &Line, own: u32) -> String {
    let name = sanitize(&line.socket.name()).into_owned();
    match line.socket.netns {
        Some(netns) if netns != own => format!("{name} (netns {netns})"),
        _ => name,
    }
}

fn state(line: &Line) -> String {
    let state = line.socket.state.and_then(|state| serde_json::to_value(state).ok());
    state.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Longest command line in the table.
const COMMAND: usize = 40;

fn row(name: String, state: String, holder: &Holder) -> [String; 7] {
    let process = &holder.process;
    let args = process.args.as_ref().map(|args| args.join(" ")).or(process.comm.clone());
    let command = sanitize(&args.unwrap_or_default()).into_owned();
    let command = match command.char_indices().nth(COMMAND) {
        Some((at, _)) => format!("{}…", &command[..at]),
        None => command,
    };
    let age = process
        .start_time
        .map(|start| human::span(jiff::Timestamp::now().duration_since(start.0).as_secs_f64()));
    let unit = process.unit.clone().or(process.container.clone()).unwrap_or_else(|| "-".to_owned());
    [
        name,
        state,
        process.pid.to_string(),
        sanitize(&unit).into_owned(),
        process.user.clone().or(process.uid.map(|uid| uid.to_string())).unwrap_or_default(),
        age.unwrap_or_default(),
        command,
    ]
}

/// The row of a socket of the kernel's own.
fn no_process(name: String, state: String) -> [String; 7] {
    let none = || "-".to_owned();
    [
        name,
        state,
        none(),
        none(),
        none(),
        none(),
        "(no process: the kernel itself, or on its way to one)".to_owned(),
    ]
}
