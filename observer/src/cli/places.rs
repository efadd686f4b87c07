//! The options of place: where the store, the socket and the settings are.
//!
//! They are accepted everywhere, before and after the subcommand, and shown where they count.

use std::path::PathBuf;

use clap::Args;

/// As typed, wherever on the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct Places {
    /// Folder of stored events
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Socket of the service
    #[arg(long, global = true, hide = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Settings file
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What commands that read the store show; clap hands the values to [`Places`].
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Places")]
pub struct StorePlaces {
    /// Folder of stored events [default: /var/log/observer]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Settings file [default: /etc/observer/observer.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What commands that ask the service show.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Places")]
pub struct ServicePlaces {
    /// Socket of the service [default: /run/observer/observer.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Settings file [default: /etc/observer/observer.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What the service itself shows.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Places")]
pub struct AllPlaces {
    /// Folder to store events in [default: /var/log/observer]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Socket for clients [default: /run/observer/observer.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Settings file; a flag beats the file [default: /etc/observer/observer.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}
