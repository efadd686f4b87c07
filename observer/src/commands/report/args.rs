//! The command line of the report.

use std::path::PathBuf;

use clap::Args;

use crate::filter::Filter;

/// Arguments of `observer report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The page to write, `-` for standard output. Only its owner may read it (mode 0600), since it holds command lines,
    /// and those hold secrets more often than they should. A file of that name is replaced
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: PathBuf,
    /// Also deaths with exit code 0
    #[arg(long)]
    pub all: bool,
    /// Which events.
    #[command(flatten)]
    pub filter: Filter,
}
