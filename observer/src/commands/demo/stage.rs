//! Where the plot plays: events are shown as they come, whatever is waited for, and kept for the end.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::cast::Cast;
use crate::{
    commands::{show::Show, stop::Stop},
    engine::live::Live,
    model::{Body, Event, Process},
    stdout::Reader,
};

/// How long anything that has to come may take. The kernel takes milliseconds; a machine under load may take more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the plot did not get to its end.
#[derive(Debug)]
pub(super) enum Cut {
    /// Ctrl-C, or another request to stop.
    Asked,
    /// Nobody reads any more.
    Gone,
    /// That did not come in time.
    Missed(String),
    /// Something else failed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Cut {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// The kernel, the processes, and the audience.
pub(super) struct Stage<'a> {
    live: &'a mut Live,
    show: Show<'a>,
    stop: Stop,
    /// The processes.
    pub(super) cast: Cast,
    /// What was shown.
    pub(super) events: Vec<Event>,
}

impl<'a> Stage<'a> {
    /// Nothing has happened yet.
    #[must_use]
    pub(super) fn new(live: &'a mut Live, show: Show<'a>, stop: Stop, cast: Cast) -> Self {
        Self { live, show, stop, cast, events: Vec::new() }
    }

    /// Watches from now on. The first scan of the machine's ports is over before the worker opens one.
    pub(super) async fn begin(&mut self) -> Result<(), Cut> {
        let session = self.live.session(None);
        self.take(vec![session]).await
    }

    /// Ends the processes, and gives what was shown of them.
    #[must_use]
    pub(super) fn end(self) -> Vec<Event> {
        self.events
    }

    /// Shows what happens, for as long as a person needs to follow.
    pub(super) async fn pause(&mut self, ms: u64) -> Result<(), Cut> {
        let end = Instant::now() + Duration::from_millis(ms);
        while self.step(end).await? {}
        Ok(())
    }

    /// The first event that `is_it`, now or soon.
    pub(super) async fn event(
        &mut self,
        what: &str,
        is_it: impl Fn(&Event) -> bool,
    ) -> Result<Event, Cut> {
        self.until(what, |stage| stage.events.iter().find(|event| is_it(event)).cloned()).await
    }

    /// The process with that part, which has to say so.
    pub(super) async fn process(&mut self, role: &str) -> Result<u32, Cut> {
        self.until(&format!("a word of the {role}"), |stage| stage.cast.pid(role)).await
    }

    /// What `find` finds, now or soon.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        find: impl Fn(&Self) -> Option<T>,
    ) -> Result<T, Cut> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            if !self.step(end).await? {
                let within = PATIENCE.as_secs();
                return Err(Cut::Missed(format!("{what} did not come within {within} s")));
            }
        }
    }

    /// Whatever happens next; false when nothing did before that time.
    async fn step(&mut self, end: Instant) -> Result<bool, Cut> {
        tokio::select! {
            () = self.stop.asked() => return Err(Cut::Asked),
            ready = self.live.ready() => {
                ready?;
                let mut events = Vec::new();
                self.live.events(|event| events.push(event))?;
                self.take(events).await?;
            }
            said = self.cast.listen() => said?,
            () = tokio::time::sleep_until(end) => return Ok(false),
        }
        Ok(true)
    }

    /// Shows and keeps those that are about our own processes; the rest of the machine is nobody's business here.
    pub(super) async fn take(&mut self, mut events: Vec<Event>) -> Result<(), Cut> {
        events.retain(|event| is_ours(&mut self.cast, &event.body));
        let reader = self.show.events(&events).await?;
        self.events.append(&mut events);
        if reader == Reader::Gone { Err(Cut::Gone) } else { Ok(()) }
    }
}

fn is_ours(cast: &mut Cast, body: &Body) -> bool {
    let mut has = |process: &Process| cast.has(process);
    match body {
        Body::Exit(exit) => has(&exit.process),
        Body::Oom(oom) => has(&oom.victim),
        Body::Bind(bind) => has(&bind.process),
        Body::Listen(listen) => has(&listen.process),
        Body::Release(release) => release.process.as_ref().is_some_and(has),
        Body::Session(_) | Body::Loss(_) => true,
        // The incident is shown at the end, of these events alone; the demo is no flood.
        Body::Incident(_) | Body::Flood(_) => false,
    }
}
