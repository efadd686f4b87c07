//! `observer replay`: a capture in place of the kernel. Needs no root.

use anyhow::{Context, Result};
use jiff::tz::TimeZone;

use super::show::Show;
use crate::{
    cli::ReplayArgs,
    engine::{capture::Capture, replay},
    enrich::Users,
    error::status,
    logging,
    stdout::Reader,
};

/// Shows the events of a capture.
pub fn run(args: &ReplayArgs) -> Result<u8> {
    args.show.filter.check()?;
    let capture = Capture::read(&args.file)
        .with_context(|| format!("can't replay {}", args.file.display()))?;
    let events = replay::events(&capture, Users::fixed([].into()));
    let mut show = Show::new(&args.show, TimeZone::system())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let reader = runtime.block_on(show.events(&events))?;
    runtime.shutdown_background();
    if reader == Reader::There {
        logging::say(&show.summary());
    }
    if let Some(at) = capture.cut_at {
        logging::say(&format!("observer: the capture is cut off at byte {at}"));
        return Ok(status::NO_MATCH);
    }
    Ok(status::DONE)
}
