//! `observer ports`: who holds which port right now, in every network namespace.

mod table;

use anyhow::Result;

use crate::{
    cli::{PortsArgs, Settings},
    error::status,
    service::{
        client,
        port_list::{PortLine, own},
        protocol::Request,
    },
    stdout,
};

/// Makes one scan, or has the service make it, and shows it.
pub fn run(args: &PortsArgs, settings: &Settings) -> Result<u8> {
    let socket = &settings.socket;
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

/// The service has its programs loaded, and sees what its clients may not.
async fn from_service(args: &PortsArgs, socket: &std::path::Path) -> Result<Option<Vec<PortLine>>> {
    let request = Request::Ports { ports: args.ports.clone() };
    let Some(mut answer) = client::ask(socket, &request).await? else { return Ok(None) };
    let mut found = Vec::new();
    while let Some(line) = answer.line().await? {
        found.push(serde_json::from_str(&line)?);
    }
    Ok(Some(found))
}

fn wanted(args: &PortsArgs, line: &PortLine) -> bool {
    (args.protocol.is_empty() || args.protocol.contains(&line.socket.protocol))
        && (args.unit.is_empty() || line.holders.iter().any(|h| args.process(&h.process)))
}

fn json(lines: &[PortLine]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}
