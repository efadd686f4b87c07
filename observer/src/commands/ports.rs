//! `observer ports`: who holds which port right now, in every network namespace.

pub mod lines;
mod table;

use std::path::Path;

use anyhow::Result;

use crate::{
    cli::PortsArgs,
    enrich::snapshot::Snapshot,
    error::status,
    kernel::{Kernel, load::Options},
    service::{client, protocol::Request},
    sinks::stdout,
};

use lines::{Line, lines};

/// Makes one pass, or has the service make it, and shows it.
pub fn run(args: &PortsArgs, socket: &Path) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = match runtime.block_on(from_service(args, socket)) {
        Ok(Some(found)) => found,
        Ok(None) => own(&args.ports)?,
        // A service that is in trouble must not keep root from an answer.
        Err(error) => own(&args.ports).map_err(|_own| error)?,
    };
    found.retain(|line| wanted(args, line));
    stdout::print(&if args.json { json(&found)? } else { table::table(&found) })?;
    Ok(if found.is_empty() { status::NO_MATCH } else { status::DONE })
}

/// The service has its programs loaded, and may look where its clients may not.
async fn from_service(args: &PortsArgs, socket: &Path) -> Result<Option<Vec<Line>>> {
    let request = Request::Ports { ports: args.ports.clone() };
    let Some(mut answer) = client::ask(socket, &request).await? else { return Ok(None) };
    let mut found = Vec::new();
    while let Some(line) = answer.line().await? {
        found.push(serde_json::from_str(&line)?);
    }
    Ok(Some(found))
}

/// Makes a pass with programs of our own.
pub(super) fn own(ports: &[u16]) -> Result<Vec<Line>> {
    let mut kernel = Kernel::load(Options { holders_only: true, ..Options::default() })?;
    let snapshot = Snapshot::read(kernel.open_holders(ports)?)?;
    drop(kernel);
    Ok(lines(&snapshot, ports))
}

fn wanted(args: &PortsArgs, line: &Line) -> bool {
    (args.protocol.is_empty() || args.protocol.contains(&line.socket.protocol))
        && (args.unit.is_empty() || line.holders.iter().any(|h| args.process(&h.process)))
}

fn json(lines: &[Line]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}
