//! `observer report`: one page from the records, for the next morning and for those who were not there.

mod args;
mod collect;
mod file;

use std::path::Path;

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

pub use args::ReportArgs;

use crate::{
    error::status,
    logging,
    model::human,
    records::{Folder, verify::verify},
    sinks::{html::Clock, stdout},
};

/// Writes the page; exit status 1, and no file, when nothing matches.
pub fn run(args: &ReportArgs, dir: &Path) -> Result<u8> {
    args.filter.check()?;
    let place = match args.output.as_path() {
        path if path == Path::new("-") => None,
        path => Some(file::Place::at(path)?),
    };
    let folder = Folder::at(dir);
    // A service that writes this record says by its silence that nothing happened since.
    let now = folder.is_written().then(Timestamp::now);
    let mut report = collect::collect(&folder, args, now, Clock::new(TimeZone::system()))?;
    let lost: u64 = report.lost.values().sum();
    if lost > 0 {
        let lost = human::count(lost, "event");
        logging::say(&format!("observer: the record lacks {lost} of that time, which were lost"));
    }
    if report.matched() == 0 {
        logging::say("observer: nothing in the record matches: no page is written");
        return Ok(status::NO_MATCH);
    }
    report.verified = verify(&folder).map_err(|error| format!("{error:#}"));
    let page = report.page();
    match place {
        Some(place) => place.write(&page)?,
        None => drop(stdout::print(&page).context("can't write to standard output")?),
    }
    Ok(status::DONE)
}
