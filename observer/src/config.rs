//! `/etc/observer/observer.toml`, and where things are when neither it nor the command line says so.

use std::{
    fs::File,
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use crate::{
    cli::{Cli, Switch},
    records,
};

/// Where the settings are by default.
pub const CONFIG: &str = "/etc/observer/observer.toml";
/// Where the records are by default.
pub const DIR: &str = "/var/log/observer";
/// Where the service listens by default.
pub const SOCKET: &str = "/run/observer/observer.sock";

/// Which deaths are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Exits {
    /// Those with another code than 0, or by a signal
    #[default]
    Abnormal,
    /// All
    All,
}

/// The settings, as the file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the records.
    pub dir: Option<PathBuf>,
    /// Socket of the service.
    pub socket: Option<PathBuf>,
    /// Which deaths are recorded.
    pub exits: Exits,
    /// Watch binds and listens.
    pub binds: Option<Switch>,
    /// Where metrics are offered over HTTP; nowhere when it is absent.
    pub metrics: Option<MetricsAddress>,
    /// The files of the record.
    pub files: Files,
}

/// An address for metrics; only a port of this machine's own when it is a port alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MetricsAddress(pub SocketAddr);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = match text.parse() {
            Ok(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            Err(_) => text.parse().ok(),
        };
        // Nobody would find out which port the kernel has chosen for 0.
        match address.filter(|address| address.port() > 0) {
            Some(address) => Ok(Self(address)),
            None => Err(format!("{text:?} is no address with a port, such as 127.0.0.1:9464")),
        }
    }
}

impl TryFrom<String> for MetricsAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Limits of the record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// A segment is closed when it has so many bytes.
    pub segment_bytes: u64,
    /// And when it is that old.
    pub segment_hours: u64,
    /// The oldest segments are removed when all have more bytes than this.
    pub keep_bytes: u64,
    /// And when they are older than this.
    pub keep_days: u64,
    /// Records are sealed after so many seconds at most.
    pub seal_seconds: u64,
    /// Who may read the record and use the socket, besides root.
    pub group: String,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segment_hours: 24,
            keep_bytes: 1 << 30,
            keep_days: 30,
            seal_seconds: 5,
            group: "adm".to_owned(),
        }
    }
}

impl Files {
    /// The same as the record needs them.
    #[must_use]
    pub fn settings(&self) -> records::Settings {
        let hours = |n: u64| Duration::from_secs(n.saturating_mul(3600));
        records::Settings {
            segment_bytes: self.segment_bytes,
            segment_age: hours(self.segment_hours),
            keep_bytes: self.keep_bytes,
            keep_age: hours(self.keep_days.saturating_mul(24)),
            seal_after: Duration::from_secs(self.seal_seconds),
        }
    }

    fn check(&self) -> Result<()> {
        let least = [
            ("segment_bytes", self.segment_bytes, 4096),
            ("segment_hours", self.segment_hours, 1),
            ("keep_bytes", self.keep_bytes, 4096),
            ("keep_days", self.keep_days, 1),
            ("seal_seconds", self.seal_seconds, 1),
        ];
        for (key, value, least) in least {
            if value < least {
                bail!("files.{key} is {value}; it must be {least} or more");
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads the file that the command line names, or the default one, which may be missing.
    pub fn of(cli: &Cli) -> Result<Self> {
        let path = cli.config.as_deref();
        let mut config = match Self::read(path.unwrap_or(Path::new(CONFIG))) {
            Err(error) if path.is_none() && is_absent(&error) => Self::default(),
            read => read?,
        };
        if let Some(dir) = &cli.dir {
            config.dir = Some(dir.clone());
        }
        if let Some(socket) = &cli.socket {
            config.socket = Some(socket.clone());
        }
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)
            .with_context(|| format!("can't read the settings in {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is left unread", path.display()))
    }

    /// Settings from a text; an error names line and column.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, column) = place(text, at);
            anyhow::anyhow!("line {line}, column {column}: {}", error.message())
        })?;
        config.files.check()?;
        Ok(config)
    }

    /// Folder of the records.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(DIR))
    }

    /// Socket of the service.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.as_deref().unwrap_or(Path::new(SOCKET))
    }
}

/// More is no file of settings.
const LONGEST: u64 = 1 << 20;

/// A pipe would keep us waiting for ever, and a device may never end.
fn read_text(path: &Path) -> io::Result<String> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if meta.len() > LONGEST {
        return Err(io::Error::other("it is longer than any settings"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn is_absent(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::NotFound))
}

/// Line and column of a byte, from 1; columns in characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode};

    use super::{Config, Exits, Files};

    #[test]
    fn nothing_is_needed() {
        assert_eq!(Config::parse("").expect("defaults"), Config::default());
        let some = Config::parse("exits = \"all\"\n[files]\nkeep_days = 7\n").expect("settings");
        assert_eq!(some.exits, Exits::All);
        assert_eq!(some.files, Files { keep_days: 7, ..Files::default() });
    }

    #[test]
    fn metrics_are_offered_where_it_says_and_a_port_alone_is_for_this_machine() {
        assert_eq!(Config::default().metrics, None);
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("[::1]:9464", "[::1]:9464"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
        ] {
            let config = Config::parse(&format!("metrics = {text:?}\n")).expect("an address");
            assert_eq!(config.metrics.map(|m| m.0.to_string()).as_deref(), Some(address));
        }
        for wrong in ["\"\"", "\"host\"", "\"127.0.0.1\"", "\"0\"", "\"70000\"", "9464"] {
            let error = Config::parse(&format!("metrics = {wrong}\n")).expect_err(wrong);
            assert!(error.to_string().starts_with("line 1, column 11"), "{error}");
        }
    }

    #[test]
    fn only_a_file_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        for wrong in [&pipe, dir.path(), Path::new("/dev/zero")] {
            let error = format!("{:#}", Config::read(wrong).expect_err("no file"));
            assert!(error.ends_with("it is no regular file"), "{error}");
        }
    }

    #[test]
    fn an_error_has_its_place() {
        for (text, place) in [
            ("dir = \n", "line 1, column 7"),
            ("\n  exits = \"some\"\n", "line 2, column 11"),
            ("[files]\nkeep_dys = 7\n", "line 2, column 1"),
            ("[files]\nkeep_days = \"7\"\n", "line 2, column 13"),
        ] {
            let error = Config::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(place), "{error}");
        }
        let error = Config::parse("[files]\nkeep_days = 0\n").expect_err("too few").to_string();
        assert!(error.contains("keep_days"), "{error}");
    }
}
