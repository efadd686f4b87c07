//! The service: one set of loaded programs, a store, and any number of clients.
//!
//! **Invariant:** one loop on one thread ([`run`]), a task a client. Nothing here waits for a client or for the disk.

mod batch;
pub mod client;
pub mod clients;
mod door;
mod health;
pub mod http;
mod limits;
mod manager;
pub mod metrics;
pub mod port_list;
pub mod privilege;
pub mod protocol;
mod requests;
mod run;
mod scrape;
mod signals;
pub mod socket;
pub mod status;
pub mod storage;

pub use run::serve;
