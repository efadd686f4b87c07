//! The command line: what was typed, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};

use jiff::Timestamp;

use crate::{
    commands::{
        demo::{DemoArgs, PartArgs},
        report::ReportArgs,
    },
    config::{Exits, MetricsAddress},
    filter::{Filter, parse_time},
    model::{Process, Protocol},
    subject::Subject,
};

/// Which process died, why, and who holds the contested port: from the kernel, as it happens.
#[derive(Debug, Parser)]
#[command(name = "observer", version, propagate_version = true)]
#[command(
    after_help = "Exit status: 0 done; 1 nothing matched, or a check did not hold; 2 wrong usage; \
3 not permitted, or not supported by this kernel; 4 files or service out of reach."
)]
pub struct Cli {
    /// Folder of the service's records [default: /var/log/observer]
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Socket of the service [default: /run/observer/observer.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Settings, in TOML; a flag beats the file [default: /etc/observer/observer.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Load what a kernel without function tracing gets, whatever this one has: to try that here
    #[arg(long, global = true, hide = true)]
    pub no_trampolines: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show events as they happen, until Ctrl-C
    Tail(TailArgs),
    /// Show what `tail --record` recorded, as it would have been shown then; needs no root
    #[command(hide = true)]
    Replay(ReplayArgs),
    /// Show who holds which port right now, in every network namespace; exit status 1 when nobody does
    Ports(PortsArgs),
    /// Record events, and feed whoever listens: the service
    Serve(ServeArgs),
    /// Show the service's own health: events, losses, clients, disk, memory, cost per program
    Status(StatusArgs),
    /// Show recorded events
    Log(LogArgs),
    /// Check the seals of the record, and name the first record that does not hold
    Verify(VerifyArgs),
    /// Tell the story of a port, a process, a unit or a socket path, or the newest ones, from the records: what died and
    /// why, what went dark and for how long, who is in the way
    Why(WhyArgs),
    /// Write one page of HTML from the records: the stories, a timeline, deaths, refused binds, port ownership
    Report(ReportArgs),
    /// Say what this kernel supports, which hook each feature uses, and what is missing
    Doctor(DoctorArgs),
    /// Replay a bad night in miniature: a worker over its memory limit, and its port that somebody keeps
    Demo(DemoArgs),
    /// A process of the demo
    #[command(hide = true)]
    DemoPart(PartArgs),
    /// Print the JSON Schema of an event
    Schema,
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
    /// Also write everything that the kernel side says to this new file, filtered or not, for `observer replay`. It
    /// holds the command lines of all processes that die meanwhile
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub record: Option<PathBuf>,
    /// Watch binds and listens; without function tracing in the kernel this makes every system call 30 ns slower
    #[arg(long, value_enum, default_value_t = Switch::On, value_name = "SWITCH")]
    pub binds: Switch,
    /// Log of the eBPF programs themselves, on standard error
    #[arg(long, value_enum, default_value_t = EbpfLog::Off, value_name = "LEVEL")]
    pub ebpf_log: EbpfLog,
}

/// Arguments of `observer replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A file that `tail --record` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to show, and how.
    #[command(flatten)]
    pub show: ShowArgs,
}

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

/// Arguments of `observer ports`.
#[derive(Debug, Args)]
pub struct PortsArgs {
    /// Only these ports, connections included
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Only these protocols
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROTOCOL")]
    pub protocol: Vec<Protocol>,
    /// Only sockets held by processes of these systemd units; `*` and `?` match, `.service` may be left out
    #[arg(long, value_delimiter = ',', value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub unit: Vec<String>,
    /// One line a socket: `{socket, holders}`
    #[arg(long)]
    pub json: bool,
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
    /// Which deaths to record [default: abnormal]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub exits: Option<Exits>,
    /// Watch binds and listens; without function tracing in the kernel this makes every system call 30 ns slower
    /// [default: on]
    #[arg(long, value_enum, value_name = "SWITCH")]
    pub binds: Option<Switch>,
    /// Offer metrics to Prometheus over HTTP on this address; a port alone means 127.0.0.1 [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<MetricsAddress>,
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
}

/// How `observer status` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// For people
    Text,
    /// For programs: one JSON object
    Json,
    /// For node_exporter's textfile collector: the metrics that `serve --metrics` offers
    Prometheus,
}

/// Arguments of `observer log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// How to write events
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub format: LogFormat,
    /// The same as --format json: one event a line, as it was recorded
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Also processes that ended with code 0: whatever was recorded of them (`serve --exits all`) is shown without it too, since a
    /// number that is left out would look like a loss
    #[arg(long)]
    pub all: bool,
    /// Which events.
    #[command(flatten)]
    pub filter: Filter,
}

/// How `observer log` writes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For programs: one JSON object a line, as it was recorded
    Json,
    /// For spreadsheets: one line each, the same columns for all kinds
    Csv,
    /// For Elasticsearch: one JSON object a line in the names of the Elastic Common Schema
    Ecs,
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
}

/// Arguments of `observer why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// What to tell of: `:8080`, `tcp:8080`, `udp:53`, `pid:2211`, `shop.service`, `/run/php/fpm.sock`, `@abstract`; the
    /// newest incidents when left out
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
    /// Only incidents that were not over by then: RFC 3339, `10m`, `2h` ago, or `yesterday`
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<Timestamp>,
    /// Only incidents that had begun by then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a number above 0".to_owned()),
        Ok(n) => Ok(n),
    }
}

/// Arguments of `observer doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// How to write events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one JSON object a line
    Json,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// Levels of the eBPF programs' log, as `aya_log` numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EbpfLog {
    /// Compiled in, but removed by the kernel when it loads the programs: costs nothing
    Off,
    /// Errors
    Error,
    /// And warnings
    Warn,
    /// And what happens
    Info,
    /// And each event
    Debug,
    /// Everything
    Trace,
}

impl EbpfLog {
    /// The level as the programs know it.
    #[must_use]
    pub fn level(self) -> u8 {
        self as u8
    }

    /// The level as a directive of the log filter.
    #[must_use]
    pub fn directive(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definitions_hold_together() {
        super::Cli::command().debug_assert();
    }
}
