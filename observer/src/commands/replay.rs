//! `observer replay`: a recording in place of the kernel. Needs no root.

use anyhow::{Context, Result};
use jiff::tz::TimeZone;

use super::show::Show;
use crate::{
    cli::ReplayArgs,
    decode::{self, KernelEvent},
    enrich::{Enricher, Symbols, Users},
    error::status,
    kernel::{clock::Clock, recording::Recording},
    logging,
    model::Event,
    pipeline::Pipeline,
    sinks::stdout::Reader,
};

/// Shows a recording.
pub fn run(args: &ReplayArgs) -> Result<u8> {
    let recording = Recording::read(&args.file)
        .with_context(|| format!("can't replay {}", args.file.display()))?;
    let events = events(&recording, Users::fixed([].into()));
    let mut show = Show::new(&args.show, TimeZone::system());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let reader = runtime.block_on(show.events(&events))?;
    runtime.shutdown_background();
    if reader == Reader::There {
        logging::say(&show.summary());
    }
    let binds = binds(&recording);
    if binds > 0 {
        logging::say(&format!(
            "observer: {binds} binds and listens are in the recording but not shown: who held what is not in it"
        ));
    }
    if let Some(at) = recording.cut_at {
        logging::say(&format!("observer: the recording is cut off at byte {at}"));
        return Ok(status::NO_MATCH);
    }
    Ok(status::DONE)
}

/// Records whose events need a look at the descriptors of living processes.
fn binds(recording: &Recording) -> usize {
    let records = recording.drains.iter().flat_map(|drain| &drain.records);
    records.filter(|record| matches!(decode::decode(record), Ok(KernelEvent::Bind(_)))).count()
}

/// Everything that a live observer would have told, at the same moments.
#[must_use]
pub fn events(recording: &Recording, users: Users) -> Vec<Event> {
    let header = &recording.header;
    let clock = Clock::fixed(header.boot_epoch_ns.into());
    let enricher = Enricher { users, clock };
    let symbols = Symbols::Recorded(recording.symbols.clone());
    let mut pipeline = Pipeline::new(header.host(), enricher, symbols);
    pipeline.set_exits_all(header.exits_all);
    let mut events = vec![pipeline.session(header.session.clone(), header.begin_ns)];
    let mut since_ns = header.begin_ns;
    for drain in &recording.drains {
        while let Some(deadline_ns) = pipeline.deadline_ns().filter(|at| *at <= drain.now_ns) {
            events.extend(pipeline.feed(&[], deadline_ns));
        }
        events.extend(pipeline.feed(&drain.records, drain.now_ns));
        events.extend(drain.losses.iter().map(|loss| pipeline.loss(loss)));
        events.extend(pipeline.unreadable((since_ns, drain.now_ns)));
        since_ns = drain.now_ns;
    }
    events.extend(pipeline.finish());
    events
}
