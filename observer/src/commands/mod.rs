//! One thin module a subcommand. A command returns its exit status.

pub mod demo;
pub mod doctor;
pub mod log;
pub mod ports;
pub mod replay;
pub mod report;
pub mod schema;
pub mod serve;
pub mod show;
pub mod status;
pub mod stop;
pub mod tail;
pub mod verify;
pub mod why;
