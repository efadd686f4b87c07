//! Values that options and settings take.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
};

use clap::ValueEnum;
use serde::Deserialize;

/// How to write events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one JSON object a line
    Json,
    /// For spreadsheets: one line an event, the same columns for all kinds
    Csv,
    /// For Elasticsearch: one JSON object a line in the names of the Elastic Common Schema
    Ecs,
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

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// Which deaths are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Exits {
    /// Those with another code than 0, or by a signal
    #[default]
    Abnormal,
    /// All
    All,
}

/// An address for metrics; a port alone means 127.0.0.1.
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
            None => Err(format!("{text:?} is not an address with a port, such as 127.0.0.1:9464")),
        }
    }
}

impl TryFrom<String> for MetricsAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
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
