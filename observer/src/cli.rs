//! The command line: what was typed, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};

use jiff::Timestamp;

use crate::{
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
    /// Folder of the service's records
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/log/observer")]
    pub dir: PathBuf,
    /// Socket of the service
    #[arg(long, global = true, value_name = "PATH", default_value = "/run/observer/observer.sock")]
    pub socket: PathBuf,
    /// Settings, in TOML; a flag beats the file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/observer/observer.toml")]
    pub config: PathBuf,
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
    /// Tell the story of a port, a process, a unit or a socket path, or the newest ones, from the records: what died and
    /// why, what went dark and for how long, who is in the way
    Why(WhyArgs),
    /// Say what this kernel supports, which hook each feature uses, and what is missing
    Doctor(DoctorArgs),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
