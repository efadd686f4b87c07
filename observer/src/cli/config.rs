//! The settings file, `/etc/observer/observer.toml`.
//!
//! **Bounded:** a file of [`LONGEST`] bytes; only a regular one is read.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer, de};

use super::{Exits, MetricsAddress, Switch};
use crate::error::Failure;

/// Where the settings are by default.
const CONFIG: &str = "/etc/observer/observer.toml";

/// The settings, as the file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub dir: Option<PathBuf>,
    /// Socket of the service.
    pub socket: Option<PathBuf>,
    /// Which deaths are stored.
    pub exits: Option<Exits>,
    /// Watch binds and listens.
    pub binds: Option<Switch>,
    /// Where metrics are offered over HTTP; nowhere when it is absent.
    pub metrics: Option<MetricsAddress>,
    /// The files of the store.
    pub files: Files,
    /// What one origin may have stored one by one.
    pub flood: FloodSettings,
}

/// Limits of the store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// A segment is closed when it has so many bytes.
    #[serde(deserialize_with = "at_least::<4096, _>")]
    pub segment_bytes: u64,
    /// And when it is that old.
    #[serde(deserialize_with = "at_least::<1, _>")]
    pub segment_hours: u64,
    /// The oldest segments are removed when all have more bytes than this.
    #[serde(deserialize_with = "at_least::<4096, _>")]
    pub keep_bytes: u64,
    /// And when they are older than this.
    #[serde(deserialize_with = "at_least::<1, _>")]
    pub keep_days: u64,
    /// Events are sealed after so many seconds at most.
    #[serde(deserialize_with = "at_least::<1, _>")]
    pub seal_seconds: u64,
    /// Who may read the store and use the socket, besides root.
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

/// How many events of one kind from one origin are stored one by one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloodSettings {
    /// Whether there is a limit.
    pub limit: Switch,
    /// So many at once.
    #[serde(deserialize_with = "at_least::<1, _>")]
    pub burst: u64,
    /// And so many a second after that.
    #[serde(deserialize_with = "at_least::<1, _>")]
    pub per_second: u64,
}

impl Default for FloodSettings {
    fn default() -> Self {
        Self { limit: Switch::On, burst: 20_000, per_second: 50 }
    }
}

/// A number of at least `LEAST`; an error has the place of the value.
fn at_least<'de, const LEAST: u64, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    if value < LEAST {
        return Err(de::Error::custom(format!("{value} is too small: it must be {LEAST} or more")));
    }
    Ok(value)
}

impl Config {
    /// Reads `named`, or the default file, which may be missing. A file that can be read and makes no sense is wrong usage.
    pub(super) fn read(named: Option<&Path>) -> Result<Self> {
        let path = named.unwrap_or(Path::new(CONFIG));
        let text = match read_text(path) {
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            read => {
                read.with_context(|| format!("can't read the settings in {}", path.display()))?
            }
        };
        Self::parse(&text).map_err(|error| {
            let BadSetting { line, column, what } = error;
            Failure::Usage(format!("{}:{line}:{column}: {what}", path.display())).into()
        })
    }

    /// Settings from a text.
    pub fn parse(text: &str) -> Result<Self, BadSetting> {
        toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            let what = error.message().replace("unknown field", "unknown setting");
            BadSetting { line, column, what }
        })
    }
}

/// What is wrong with the settings, and where: line and column from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {what}")]
pub struct BadSetting {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong.
    pub what: String,
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

/// Line and column of a byte.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode};

    use super::{Config, Exits, Files, FloodSettings, Switch};
    use crate::error::{exit_status, status};

    #[test]
    fn nothing_is_needed() {
        assert_eq!(Config::parse("").expect("defaults"), Config::default());
        let some = Config::parse("exits = \"all\"\n[files]\nkeep_days = 7\n").expect("settings");
        assert_eq!(some.exits, Some(Exits::All));
        assert_eq!(some.files, Files { keep_days: 7, ..Files::default() });
        let some = Config::parse("[flood]\nlimit = \"off\"\nburst = 7\n").expect("settings");
        assert_eq!(some.flood, FloodSettings { limit: Switch::Off, burst: 7, per_second: 50 });
    }

    #[test]
    fn a_port_alone_offers_metrics_to_this_machine_only() {
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
            assert!(error.to_string().starts_with("1:11: "), "{error}");
        }
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        for wrong in [&pipe, dir.path(), Path::new("/dev/zero")] {
            let error = Config::read(Some(wrong)).expect_err("no file");
            assert!(format!("{error:#}").ends_with("it is no regular file"), "{error:#}");
            assert_eq!(exit_status(&error), status::UNREACHABLE);
        }
    }

    #[test]
    fn an_error_has_its_place_and_is_wrong_usage() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("o.toml");
        for (text, error) in [
            ("dir = \n", "1:7: "),
            ("\n  exits = \"some\"\n", "2:11: "),
            ("foo = 1\n", "1:1: unknown setting `foo`"),
            ("[files]\nkeep_dys = 7\n", "2:1: unknown setting `keep_dys`"),
            ("[files]\nkeep_days = \"7\"\n", "2:13: "),
            ("[files]\nkeep_days = 0\n", "2:13: 0 is too small: it must be 1 or more"),
            ("[files]\nkeep_bytes = 5\n", "2:14: 5 is too small: it must be 4096 or more"),
            ("[flood]\nburst = 0\n", "2:9: 0 is too small: it must be 1 or more"),
            ("[flood]\nper_second = -1\n", "2:14: "),
            ("[flood]\nlimit = \"some\"\n", "2:9: "),
            ("[flood]\nrate = 5\n", "2:1: unknown setting `rate`"),
        ] {
            std::fs::write(&path, text).expect("written");
            let found = Config::read(Some(&path)).expect_err(text);
            let expected = format!("{}:{error}", path.display());
            assert!(format!("{found:#}").starts_with(&expected), "{found:#}");
            assert_eq!(exit_status(&found), status::USAGE);
        }
    }
}
