//! Requests of clients: the loop answers what takes no time, and hands the rest to tasks.
//!
//! **Bounded:** by [`super::door`] and by [`MOST`] who wait for a scan; a scan by [`CLIENT_SCAN`].

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::{net::UnixStream, sync::oneshot};

use super::{
    clients::MOST,
    door::{OF_ONE_USER, Ticket},
    port_list,
    protocol::Request,
    run::Service,
    socket::{answer, refuse, request},
    status::ServiceStatus,
};
use crate::enrich::scan::{Budget, Scan};

/// How long a scan for a client may take.
const CLIENT_SCAN: Duration = Duration::from_secs(20);

/// What comes from the tasks that speak with clients.
pub(super) enum Asked {
    Tail(UnixStream, bool, Ticket),
    Status(UnixStream, Ticket),
    Metrics(oneshot::Sender<ServiceStatus>),
    Ports(UnixStream, Vec<u16>, Ticket),
}

impl Service {
    pub(super) fn welcome(&mut self, stream: UnixStream) {
        let sender = self.sender.clone();
        let Some(mut ticket) = self.door.ticket(&stream) else {
            let why = format!("{OF_ONE_USER} requests of this user wait or listen already");
            tokio::spawn(refuse(stream, why));
            return;
        };
        self.newcomers.spawn(async move {
            let mut stream = stream;
            let request = request(&mut stream).await;
            ticket.turn().await;
            let asked = match request {
                Ok(Request::Tail { all }) => Asked::Tail(stream, all, ticket),
                Ok(Request::Status) => Asked::Status(stream, ticket),
                Ok(Request::Ports { ports }) => Asked::Ports(stream, ports, ticket),
                Err(why) => return refuse(stream, why).await,
            };
            // The service ends.
            let _ = sender.send(asked);
        });
    }

    pub(super) fn asked(&mut self, asked: Asked) -> Result<()> {
        // On a quiet machine no event has shown yet which clients went away.
        self.clients.tidy();
        match asked {
            Asked::Tail(stream, ..) if self.clients.len() >= MOST => {
                let why = format!("{MOST} clients listen already");
                tokio::spawn(refuse(stream, why));
            }
            Asked::Tail(stream, all, ticket) => {
                self.clients.join(stream, all, &self.live.for_listener(), ticket)?;
                self.mind_listeners()?;
            }
            Asked::Status(mut stream, ticket) => {
                let status = self.status();
                tokio::spawn(async move {
                    match serde_json::to_string(&status.await) {
                        Ok(text) => answer(&mut stream, (text + "\n").as_bytes()).await,
                        Err(error) => refuse(stream, error.to_string()).await,
                    }
                    drop(ticket);
                });
            }
            Asked::Metrics(wanted) => {
                let status = self.status();
                // It may have gone meanwhile.
                tokio::spawn(async move { drop(wanted.send(status.await)) });
            }
            Asked::Ports(stream, ..) if self.scans.len() >= MOST => {
                tokio::spawn(refuse(stream, format!("{MOST} clients wait already")));
            }
            Asked::Ports(stream, wanted, ticket) => {
                self.scans.push_back((stream, wanted, ticket));
            }
        }
        Ok(())
    }

    /// Makes the next scan for a client, away from this thread.
    pub(super) fn scan(&mut self) {
        let Some((_, wanted, _)) = self.scans.front() else { return };
        // The turn may be taken again by now: this is asked for again when it is free.
        let Some(iterator) = self.live.open_scan(wanted).transpose() else { return };
        let Some((mut stream, wanted, ticket)) = self.scans.pop_front() else { return };
        let work = move |careful: bool| -> Result<Vec<String>> {
            let scan = Scan::read(iterator?, &Budget::ALONE)?;
            let line = |line| Ok(serde_json::to_string(line)? + "\n");
            port_list::lines(&scan, &wanted, careful).iter().map(line).collect()
        };
        let pending = self.live.client_threads().start(CLIENT_SCAN, work);
        tokio::spawn(async move {
            let made = match pending {
                Ok(mut pending) => pending.outcome().await.context("the scan of all descriptors"),
                Err(error) => Err(error),
            };
            match made.and_then(|made| made) {
                Ok(lines) => answer(&mut stream, lines.concat().as_bytes()).await,
                Err(error) => refuse(stream, format!("{error:#}")).await,
            }
            drop(ticket);
        });
    }
}
