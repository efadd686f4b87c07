//! observer: which process died, why, and who holds the contested port.
//!
//! Data flows one way: [`kernel`] → [`decode`] → [`enrich`] and [`diagnose`] → [`sinks`], in the vocabulary of [`model`].
//! [`pipeline`] is the flow itself; [`commands`] are thin users of it.

pub mod cli;
pub mod commands;
pub mod config;
pub mod decode;
pub mod diagnose;
pub mod enrich;
pub mod error;
pub mod filter;
pub mod kernel;
pub mod logging;
pub mod model;
pub mod pipeline;
pub mod records;
pub mod service;
pub mod sinks;
pub mod subject;
