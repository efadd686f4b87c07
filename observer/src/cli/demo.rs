//! Options of `observer demo`, and of the processes that it starts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `observer demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Only events, one JSON object a line; comments go to stderr
    #[arg(long)]
    pub json: bool,
}

/// Arguments of the hidden `observer demo-part`, which the demo starts for itself.
#[derive(Debug, Args)]
pub struct DemoPartArgs {
    /// Which part.
    #[command(subcommand)]
    pub part: Part,
}

/// The processes of the plot. Standard input ends when the demo does, and then each of them ends as well.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Starts a worker for each line of its standard input, and waits for its end
    Supervisor {
        /// Memory that the worker may use
        #[arg(long)]
        limit_bytes: u64,
        /// Folder of the memory group that holds the worker to that; without one, the supervisor itself does
        #[arg(long)]
        group: Option<PathBuf>,
    },
    /// Serves a port, leaves its socket to a holder, and grows when it is asked to
    Worker {
        /// How much it grows at most
        #[arg(long)]
        most_bytes: u64,
        /// Folder of the memory group that it joins
        #[arg(long)]
        group: Option<PathBuf>,
    },
    /// Holds what it inherited
    Holder,
    /// Wants to serve the port again
    Replacement {
        /// That port
        port: u16,
    },
}
