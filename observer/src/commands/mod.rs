//! One module a subcommand, each a thin user of the stages. A command returns its exit status.

pub mod doctor;
pub mod live;
pub mod ports;
pub mod record;
pub mod replay;
pub mod schema;
pub mod show;
pub mod tail;
pub mod why;
