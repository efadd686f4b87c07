//! The service: one set of loaded programs, a record, and any number of clients.

pub mod client;
pub mod clients;
pub mod http;
pub mod metrics;
pub mod numbering;
pub mod privilege;
pub mod protocol;
pub mod recording;
pub mod socket;
pub mod status;
