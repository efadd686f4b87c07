//! Where metrics are offered over HTTP: nowhere, unless the administrator says so. An address that is taken stops nothing else: it
//! is said, and tried again.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot};

use super::{
    http,
    port_list::{self, PortLine},
    status::ServiceStatus,
};
use crate::{
    cli::MetricsAddress,
    enrich::unheld::netns_of,
    logging,
    model::{Protocol, SocketState},
};

/// How long to wait before the address is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The address of the metrics, and whether it could be had.
#[derive(Clone, Default)]
pub(super) struct Scrape {
    address: Option<SocketAddr>,
    listener: Arc<Mutex<Option<TcpListener>>>,
    refused: Arc<Mutex<Option<String>>>,
}

impl Scrape {
    /// Listens for scrapers, when there is an address to do that on. Says why if that fails.
    pub(super) async fn listen(wanted: Option<MetricsAddress>) -> Self {
        let Some(MetricsAddress(address)) = wanted else { return Self::default() };
        let scrape = Self { address: Some(address), ..Self::default() };
        match TcpListener::bind(address).await {
            Ok(listener) => set(&scrape.listener, Some(listener)),
            Err(error) => {
                let taken = error.kind() == io::ErrorKind::AddrInUse;
                let who = taken.then(|| holders(address)).flatten();
                let why =
                    who.map_or_else(|| error.to_string(), |who| format!("it is held by {who}"));
                let seconds = AGAIN.as_secs();
                logging::say(&format!(
                    "observer: can't offer metrics on {address} ({why}): it is tried again every {seconds} s; see --metrics and the setting `metrics`"
                ));
                set(&scrape.refused, Some(why));
            }
        }
        scrape
    }

    /// Answers scrapers until it is dropped, from the moment on when the address can be had. `ask` has somebody make a status.
    pub(super) async fn serve<A>(self, ask: A)
    where
        A: Fn(oneshot::Sender<ServiceStatus>) + Send + Sync + 'static,
    {
        let Some(address) = self.address else { return };
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listener = match listener {
            Some(listener) => listener,
            None => loop {
                tokio::time::sleep(AGAIN).await;
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(error) => tracing::debug!(%error, %address, "no metrics yet"),
                }
            },
        };
        if self.refused().is_some() {
            set(&self.refused, None);
            logging::say(&format!("observer: metrics are offered on {address} now"));
        }
        http::serve(listener, ask).await;
    }

    /// Why metrics are not offered, although they should be.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn set<T>(place: &Mutex<T>, value: T) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = value;
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
    let named = line.holders.iter().take(4).map(|holder| {
        let comm = holder.process.comm.as_deref().unwrap_or("a process");
        format!("{comm} (pid {})", holder.process.pid)
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}
