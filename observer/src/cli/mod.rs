//! The command line: what was typed, and the settings that follow from it and from the file.
//!
//! **Invariant:** a leaf: knows no command and no stage, only the vocabulary of filters. Reads one file, the settings.

mod args;
pub mod config;
mod demo;
mod places;
mod settings;
mod values;

use clap::{Parser, Subcommand};

pub use args::{
    DoctorArgs, LogArgs, PortsArgs, ReplayArgs, ReportArgs, ServeArgs, ShowArgs, StatusArgs,
    TailArgs, VerifyArgs, WhyArgs,
};
pub use demo::{DemoArgs, DemoPartArgs, Part};
pub use places::Places;
pub use settings::Settings;
pub use values::{EbpfLog, Exits, Format, MetricsAddress, StatusFormat, Switch};

/// Which process died, why, and who holds the contested port: from the kernel, as it happens.
#[derive(Debug, Parser)]
#[command(name = "observer", version, propagate_version = true)]
#[command(
    after_help = "Exit status: 0 done; 1 nothing matched, or a check did not hold; 2 wrong usage or a broken configuration; \
3 not permitted, or not supported by this kernel; 4 files or service out of reach."
)]
pub struct Cli {
    /// Where things are.
    #[command(flatten)]
    pub places: Places,
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
    /// Show the events of a capture made by `tail --capture`; needs no root
    #[command(hide = true)]
    Replay(ReplayArgs),
    /// Show who holds which port now, in every network namespace
    ///
    /// Exit status 1 when nobody does. Needs root, or the running service and its group.
    Ports(PortsArgs),
    /// Run the service: store events, stream them to clients
    Serve(ServeArgs),
    /// Show the service's health: events, losses, clients, disk, memory, cost
    Status(StatusArgs),
    /// Show stored events
    Log(LogArgs),
    /// Check the seals of the store, and name the first event that does not hold
    Verify(VerifyArgs),
    /// Explain an outage: what died and why, who holds the port
    ///
    /// Tells what happened to a port, a process, a unit or a socket path, or the newest incidents, from the store: what died
    /// and why, how long nobody answered, who is in the way.
    Why(WhyArgs),
    /// Write one HTML page: incidents, timeline, deaths, refused binds, ports
    Report(ReportArgs),
    /// Check what this kernel supports, which hook each feature uses, what is missing
    Doctor(DoctorArgs),
    /// Stage a small outage and show the real kernel events
    ///
    /// A worker exceeds its memory limit, and its port stays taken. Uses its own processes, its own loopback port and its own
    /// memory cgroup, and leaves nothing behind. Needs root.
    Demo(DemoArgs),
    /// A process of the demo
    #[command(hide = true)]
    DemoPart(DemoPartArgs),
    /// Print the JSON Schema of an event
    Schema,
}

#[cfg(test)]
mod tests;
