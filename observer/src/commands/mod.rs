//! One module a subcommand, each a thin user of the stages. A command returns its exit status.

pub mod doctor;
pub mod live;
pub mod schema;
pub mod tail;
