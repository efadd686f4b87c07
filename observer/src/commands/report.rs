//! `observer report`: one HTML page from the store.

mod collect;
mod file;

use std::path::Path;

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    cli::{ReportArgs, Settings},
    error::status,
    format::html::PageClock,
    logging,
    model::human,
    stdout,
    store::{Folder, verify::verify},
};

/// Writes the page; exit status 1, and no file, when nothing matches.
pub fn run(args: &ReportArgs, settings: &Settings) -> Result<u8> {
    args.filter.check()?;
    let place = match args.output.as_path() {
        path if path == Path::new("-") => None,
        path => Some(file::OutputFile::at(path)?),
    };
    let folder = Folder::with_events(&settings.dir)?;
    // While a service writes this store, no event means that nothing happened since.
    let now = folder.is_written().then(Timestamp::now);
    let mut report = collect::collect(&folder, args, now, PageClock::new(TimeZone::system()))?;
    let lost: u64 = report.lost.values().sum();
    if lost > 0 {
        let lost = human::count(lost, "event");
        logging::say(&format!("observer: {lost} of that time were lost"));
    }
    if report.matched() == 0 {
        logging::say("observer: nothing in the store matches: no page is written");
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
