//! The options of place: where the store, the socket and the settings are. They stand only where they count.

use std::path::PathBuf;

use clap::Args;

/// Those of one command, as typed.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `--dir`.
    pub dir: Option<PathBuf>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
}

/// Before the subcommand, where scripts like to have them; each subcommand shows its own.
#[derive(Clone, Debug, Default, Args)]
pub struct BeforeCommand {
    #[arg(id = "dir_before", long = "dir", hide = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[arg(id = "socket_before", long = "socket", hide = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[arg(id = "config_before", long = "config", hide = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// For commands that read the store.
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

/// For commands that ask the service.
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

/// For the service itself.
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

impl BeforeCommand {
    /// These, where the subcommand has none of its own.
    pub(super) fn beside(&self, own: Places) -> Places {
        Places {
            dir: own.dir.or_else(|| self.dir.clone()),
            socket: own.socket.or_else(|| self.socket.clone()),
            config: own.config.or_else(|| self.config.clone()),
        }
    }
}

impl From<&StorePlaces> for Places {
    fn from(places: &StorePlaces) -> Self {
        Self { dir: places.dir.clone(), socket: None, config: places.config.clone() }
    }
}

impl From<&ServicePlaces> for Places {
    fn from(places: &ServicePlaces) -> Self {
        Self { dir: None, socket: places.socket.clone(), config: places.config.clone() }
    }
}

impl From<&AllPlaces> for Places {
    fn from(AllPlaces { dir, socket, config }: &AllPlaces) -> Self {
        Self { dir: dir.clone(), socket: socket.clone(), config: config.clone() }
    }
}
