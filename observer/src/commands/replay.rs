//! `observer replay`: a recording in place of the kernel. Needs no root.

use anyhow::{Context, Result, anyhow};
use jiff::tz::TimeZone;

use super::show::Show;
use crate::{
    cli::ReplayArgs,
    enrich::{Enricher, Symbols, Users},
    error::status,
    kernel::{clock::Clock, hooks, recording::Recording},
    logging,
    model::Event,
    pipeline::{Looked, Pipeline, Ports},
    sinks::stdout::Reader,
};

/// Shows a recording.
pub fn run(args: &ReplayArgs) -> Result<u8> {
    let recording = Recording::read(&args.file)
        .with_context(|| format!("can't replay {}", args.file.display()))?;
    let events = events(&recording, Users::fixed([].into()))?;
    let mut show = Show::new(&args.show, TimeZone::system());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let reader = runtime.block_on(show.events(&events))?;
    runtime.shutdown_background();
    if reader == Reader::There {
        logging::say(&show.summary());
    }
    if let Some(at) = recording.cut_at {
        logging::say(&format!("observer: the recording is cut off at byte {at}"));
        return Ok(status::NO_MATCH);
    }
    Ok(status::DONE)
}

/// Everything that a live observer would have told, at the same moments.
pub fn events(recording: &Recording, users: Users) -> Result<Vec<Event>> {
    let header = &recording.header;
    let clock = Clock::fixed(header.boot_epoch_ns.into());
    let enricher = Enricher::with(users, clock);
    let symbols = Symbols::Recorded(recording.symbols.clone());
    let mut pipeline = Pipeline::new(header.host(), enricher, symbols);
    pipeline.set_exits_all(header.exits_all);
    let attached =
        |program: &str| header.session.hooks.iter().any(|h| h.attached && h.program == program);
    if [hooks::BINDS[0], hooks::BIND_CALLS[0]].iter().any(|hook| attached(hook.program)) {
        pipeline.watch_ports(Ports::new(!hooks::tell_servers(attached)));
    }
    let mut events = vec![pipeline.session(header.session.clone(), header.begin_ns)];
    pipeline.look_wanted(header.begin_ns);
    let mut since_ns = header.begin_ns;
    for drain in &recording.drains {
        overdue(&mut pipeline, drain.now_ns, &mut events);
        events.extend(pipeline.feed(&drain.records, drain.now_ns));
        for look in &drain.looks {
            events.extend(pipeline.looked(looked(look)?, drain.now_ns));
            pipeline.look_wanted(drain.now_ns);
        }
        pipeline.look_wanted(drain.now_ns);
        events.extend(drain.losses.iter().map(|loss| pipeline.loss(loss)));
        events.extend(pipeline.unreadable((since_ns, drain.now_ns)));
        since_ns = drain.now_ns;
    }
    if recording.cut_at.is_some() {
        // What waited for a look that was cut off is told without.
        events.extend(pipeline.looked(Err(anyhow!("the recording is cut off")), since_ns));
    }
    events.extend(pipeline.finish());
    Ok(events)
}

/// Lets go of what had waited long enough before the next drain.
fn overdue(pipeline: &mut Pipeline, now_ns: u64, events: &mut Vec<Event>) {
    let mut last_ns = 0;
    while let Some(deadline_ns) =
        pipeline.deadline_ns().filter(|at| (last_ns + 1..=now_ns).contains(at))
    {
        events.extend(pipeline.feed(&[], deadline_ns));
        pipeline.look_wanted(deadline_ns);
        last_ns = deadline_ns;
    }
}

/// What a recorded look had found; the inner error is that of the look.
fn looked(json: &[u8]) -> Result<Result<Looked>> {
    if json.is_empty() {
        return Ok(Err(anyhow!("the look at all descriptors failed when this was recorded")));
    }
    let looked = serde_json::from_slice(json);
    looked.map(Ok).context("the recording has looks at descriptors of another version of observer")
}
