//! Where metrics are offered over HTTP: nowhere, unless the administrator says so.

use std::{io, net::SocketAddr};

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpListener;

use super::port_list::{self, PortLine};
use crate::{
    cli::MetricsAddress,
    enrich::unheld::netns_of,
    model::{Protocol, SocketState},
};

/// Listens for scrapers, when there is an address to do that on.
pub(super) async fn listen(wanted: Option<MetricsAddress>) -> Result<Option<TcpListener>> {
    let Some(MetricsAddress(address)) = wanted else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            let taken = error.kind() == io::ErrorKind::AddrInUse;
            let who = taken.then(|| holders(address)).flatten();
            let error = who.map_or(anyhow!(error), |who| anyhow!("it is held by {who}"));
            Err(error).with_context(|| {
                format!("can't offer metrics on {address}, see --metrics and the setting `metrics`")
            })
        }
    }
}

/// Who is in the way: what this program is for.
fn holders(address: SocketAddr) -> Option<String> {
    let netns = netns_of(std::process::id());
    let in_the_way = |line: &&PortLine| {
        let socket = &line.socket;
        let any = |ip: std::net::IpAddr| ip.is_unspecified();
        socket.protocol == Protocol::Tcp
            && socket.state == Some(SocketState::Listen)
            && socket.netns == netns
            && socket.address.is_some_and(|ip| ip == address.ip() || any(ip) || any(address.ip()))
    };
    let lines = port_list::own(&[address.port()]).ok()?;
    let line = lines.iter().find(in_the_way)?;
    let named = line.holders.iter().map(|holder| {
        let comm = holder.process.comm.as_deref().unwrap_or("a process");
        format!("{comm} (pid {})", holder.process.pid)
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}
