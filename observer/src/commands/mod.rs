//! One module a subcommand, each a thin user of the stages. A command returns its exit status.

pub mod demo;
pub mod doctor;
pub mod live;
pub mod log;
mod losses;
pub mod pass;
pub mod ports;
pub mod record;
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
