//! The options of each subcommand. The first line of a comment is what `-h` shows; `--help` shows all of it.

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser};
use jiff::Timestamp;

use super::{
    EbpfLog, Exits, Format, MetricsAddress, StatusFormat, Switch,
    places::{AllPlaces, ServicePlaces, StorePlaces},
};
use crate::{
    filter::{Filter, parse_time},
    model::{Process, Protocol},
    subject::Subject,
};

/// What to show, and how: the same wherever events are shown.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// How to write events
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
    /// The same as --format json: one event a line
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Which events.
    #[command(flatten)]
    pub filter: Filter,
}

impl ShowArgs {
    /// The format that holds.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Arguments of `observer tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Also show processes that ended with code 0
    #[arg(long)]
    pub all: bool,
    /// What to show, and how.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Also write what the kernel reports to this new file, for `observer replay`
    ///
    /// Nothing of it is filtered: it holds the command lines of all processes that die meanwhile.
    #[arg(long, value_name = "FILE", alias = "record", hide_short_help = true)]
    pub capture: Option<PathBuf>,
    /// Watch binds and listens [default: on, or what the settings say]
    ///
    /// Without function tracing in the kernel, watching them makes every system call 30 ns slower.
    #[arg(long, value_enum, value_name = "SWITCH", help_heading = "Own programs")]
    pub binds: Option<Switch>,
    /// Log of the eBPF programs themselves, on stderr
    #[arg(long, value_enum, default_value_t = EbpfLog::Off, value_name = "LEVEL", help_heading = "Own programs")]
    pub ebpf_log: EbpfLog,
    /// Where things are.
    #[command(flatten)]
    pub places: ServicePlaces,
}

/// Arguments of `observer replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A file that `tail --capture` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to show, and how.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// Arguments of `observer ports`.
#[derive(Debug, Args)]
pub struct PortsArgs {
    /// Only these ports, connections included
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Only these protocols
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROTOCOL")]
    pub protocol: Vec<Protocol>,
    /// Only sockets of these systemd units
    ///
    /// `*` and `?` match, `.service` may be left out.
    #[arg(long, value_delimiter = ',', value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub unit: Vec<String>,
    /// One line a socket: `{socket, holders}`
    #[arg(long)]
    pub json: bool,
    /// Where things are.
    #[command(flatten)]
    pub places: ServicePlaces,
}

impl PortsArgs {
    /// Whether a holder is one of those that are wanted.
    #[must_use]
    pub fn process(&self, process: &Process) -> bool {
        Filter { unit: self.unit.clone(), ..Filter::default() }.process(process)
    }
}

/// Arguments of `observer serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which deaths to store [default: abnormal]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub exits: Option<Exits>,
    /// Watch binds and listens [default: on]
    ///
    /// Without function tracing in the kernel, watching them makes every system call 30 ns slower.
    #[arg(long, value_enum, value_name = "SWITCH")]
    pub binds: Option<Switch>,
    /// Offer Prometheus metrics over HTTP on this address [default: nowhere]
    ///
    /// A port alone means 127.0.0.1.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<MetricsAddress>,
    /// Where things are.
    #[command(flatten)]
    pub places: AllPlaces,
}

/// Arguments of `observer status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// How to write it
    #[arg(long, value_enum, default_value_t = StatusFormat::Text, value_name = "FORMAT")]
    pub format: StatusFormat,
    /// The same as --format json: one JSON object
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Where things are.
    #[command(flatten)]
    pub places: ServicePlaces,
}

/// Arguments of `observer log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Also processes that ended with code 0
    ///
    /// Whatever is stored of them (`serve --exits all`) is shown without it too: a `seq` that is left out would look like a
    /// loss.
    #[arg(long)]
    pub all: bool,
    /// What to show, and how.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Where things are.
    #[command(flatten)]
    pub places: StorePlaces,
}

/// Arguments of `observer verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The folder to check, instead of --dir
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Where things are.
    #[command(flatten)]
    pub places: StorePlaces,
}

/// Arguments of `observer why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A port, process, unit or socket path; without it, the newest incidents
    ///
    /// `:8080`, `tcp:8080`, `udp:53`, `pid:2211`, `shop.service`, `/run/php/fpm.sock`, `@abstract`.
    #[arg(value_name = "SUBJECT")]
    pub subject: Option<Subject>,
    /// At most so many incidents, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub last: usize,
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
    /// The same as --format json: one incident a line
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Only incidents that were not over by then
    ///
    /// RFC 3339, `10m` or `2h` ago, or `yesterday`.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<Timestamp>,
    /// Only incidents that had begun by then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// Where things are.
    #[command(flatten)]
    pub places: StorePlaces,
}

impl WhyArgs {
    /// The format that holds.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a number above 0".to_owned()),
        Ok(n) => Ok(n),
    }
}

/// Arguments of `observer report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The page to write, `-` for stdout; a file of that name is replaced
    ///
    /// Only its owner may read it (mode 0600), since it holds command lines, and those often hold secrets.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: PathBuf,
    /// Also deaths with exit code 0
    #[arg(long)]
    pub all: bool,
    /// Which events.
    #[command(flatten)]
    pub filter: Filter,
    /// Where things are.
    #[command(flatten)]
    pub places: StorePlaces,
}

/// Arguments of `observer doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}
