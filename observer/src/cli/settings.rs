//! What holds after the file and the command line: resolved once, a flag beats the file, the file beats the default.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{
    Cli, Command, Exits, MetricsAddress, Places, Switch,
    config::{Config, Files},
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
}

impl Settings {
    /// Reads the file that the command line names, or the default one, which may be missing.
    pub fn of(cli: &Cli) -> Result<Self> {
        let (own, exits, binds, metrics) = match &cli.command {
            Command::Tail(args) => (Places::from(&args.places), None, args.binds, None),
            Command::Serve(args) => {
                (Places::from(&args.places), args.exits, args.binds, args.metrics)
            }
            Command::Status(args) => (Places::from(&args.places), None, None, None),
            Command::Ports(args) => (Places::from(&args.places), None, None, None),
            Command::Log(args) => (Places::from(&args.places), None, None, None),
            Command::Why(args) => (Places::from(&args.places), None, None, None),
            Command::Report(args) => (Places::from(&args.places), None, None, None),
            Command::Verify(args) => {
                let own = Places::from(&args.places);
                (Places { dir: args.folder.clone().or(own.dir), ..own }, None, None, None)
            }
            Command::Replay(_)
            | Command::Doctor(_)
            | Command::Demo(_)
            | Command::DemoPart(_)
            | Command::Schema => (Places::default(), None, None, None),
        };
        let places = cli.places.beside(own);
        let config = Config::read(places.config.as_deref())?;
        let or = |typed: Option<PathBuf>, set: Option<PathBuf>, default: &str| {
            typed.or(set).unwrap_or_else(|| Path::new(default).to_owned())
        };
        Ok(Self {
            dir: or(places.dir, config.dir, DIR),
            socket: or(places.socket, config.socket, SOCKET),
            exits: exits.or(config.exits).unwrap_or_default(),
            binds: binds.or(config.binds).unwrap_or(Switch::On),
            metrics: metrics.or(config.metrics),
            files: config.files,
        })
    }
}
