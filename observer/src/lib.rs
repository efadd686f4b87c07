//! observer: which process died, why, and who holds the contested port.
//!
//! ```text
//! main → commands → service → engine → diagnose → enrich → kernel → decode → model
//!               ↘ format    → store ↗             cli, filter, subject: leaves; error, logging, sanitize: ground
//! ```
//!
//! Every arrow points down, and `cargo xtask lint` holds them. Data flows from [`kernel`] through [`decode`], [`enrich`] and
//! [`diagnose`] to events in the vocabulary of [`model`]; [`engine`] drives that, [`format`] and [`store`] take the events.

pub mod cli;
pub mod commands;
pub mod decode;
pub mod diagnose;
pub mod engine;
pub mod enrich;
pub mod error;
pub mod filter;
pub mod format;
pub mod kernel;
pub mod logging;
pub mod model;
pub mod sanitize;
pub mod service;
pub mod stdout;
pub mod store;
pub mod subject;
