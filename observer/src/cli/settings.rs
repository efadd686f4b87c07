//! What holds after the file and the command line: resolved once, a flag beats the file, the file beats the default.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{
    Cli, Command, Exits, MetricsAddress, Switch,
    config::{Config, Files, FloodSettings},
};

/// Where the store is by default.
const DIR: &str = "/var/log/observer";
/// Where the service listens by default.
const SOCKET: &str = "/run/observer/observer.sock";

/// The settings that hold.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the store.
    pub dir: PathBuf,
    /// Socket of the service.
    pub socket: PathBuf,
    /// Which deaths are stored.
    pub exits: Exits,
    /// Watch binds and listens.
    pub binds: Switch,
    /// Where metrics are offered over HTTP; nowhere when it is absent.
    pub metrics: Option<MetricsAddress>,
    /// The files of the store.
    pub files: Files,
    /// What one origin may have stored one by one.
    pub flood: FloodSettings,
}

impl Settings {
    /// Reads the file that the command line names, or the default one, which may be missing.
    pub fn of(cli: &Cli) -> Result<Self> {
        let places = cli.places.clone();
        let (exits, binds, metrics) = match &cli.command {
            Command::Tail(args) => (None, args.binds, None),
            Command::Serve(args) => (args.exits, args.binds, args.metrics),
            _ => (None, None, None),
        };
        // `observer verify DIR` names the folder itself.
        let named = match &cli.command {
            Command::Verify(args) => args.folder.clone(),
            _ => None,
        };
        let config = Config::read(places.config.as_deref())?;
        let or = |typed: Option<PathBuf>, set: Option<PathBuf>, default: &str| {
            typed.or(set).unwrap_or_else(|| Path::new(default).to_owned())
        };
        Ok(Self {
            dir: or(named.or(places.dir), config.dir, DIR),
            socket: or(places.socket, config.socket, SOCKET),
            exits: exits.or(config.exits).unwrap_or_default(),
            binds: binds.or(config.binds).unwrap_or(Switch::On),
            metrics: metrics.or(config.metrics),
            files: config.files,
            flood: config.flood,
        })
    }
}
