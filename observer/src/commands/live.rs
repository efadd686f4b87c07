//! The live kernel as a source of events, losses included.

use std::{collections::HashSet, path::Path, time::Duration};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use super::{
    losses::Losses,
    pass::{Pass, Turn, Waiting},
    record::Recorder,
};
use crate::{
    diagnose::story::Stories,
    enrich::{Enricher, Host, Symbols},
    kernel::{
        Kernel, clock, clock::Clock, footprint::give_memory_back, load::Options, preflight,
        recording::Header, rings::RingReader,
    },
    model::{
        After, Body, ClockInfo, Event, HookInfo, IncidentEvent, LossEvent, SessionEvent, Time,
    },
    pipeline::{Looked, Pipeline, Ports},
};

/// Loaded programs and the pipeline behind them.
pub struct Live {
    kernel: Kernel,
    rings: RingReader,
    pipeline: Pipeline,
    losses: Losses,
    /// When the rings were emptied last.
    drained_ns: u64,
    recorder: Option<Recorder>,
    look: Option<JoinHandle<Result<Looked>>>,
    /// Whose turn it is to read a pass over all descriptors: there is only one at a time.
    turn: Turn,
    found: Option<Result<Looked>>,
    watched: HashSet<u32>,
    stories: Stories,
    /// Much came at once, and was told by now or will be by the next wait.
    swollen: bool,
    /// Stories that still grow have numbers too: there is no record that would lack them.
    growing_numbered: bool,
}

impl Live {
    /// Loads the programs; must run under tokio.
    pub fn start(options: Options) -> Result<Self> {
        let mut kernel = Kernel::load(options)?;
        let rings = kernel.take_rings().context("rings taken twice")?.watch()?;
        let mut pipeline =
            Pipeline::new(Host::this(), Enricher::new(Clock::new()), Symbols::Running);
        pipeline.set_exits_all(options.exits_all);
        if options.binds {
            pipeline.watch_ports(Ports::new(!kernel.tells_servers()));
        }
        Ok(Self {
            kernel,
            rings,
            pipeline,
            losses: Losses::default(),
            drained_ns: 0,
            recorder: None,
            look: None,
            turn: Turn::default(),
            found: None,
            watched: HashSet::new(),
            stories: Stories::default(),
            swollen: false,
            growing_numbered: true,
        })
    }

    /// Records what comes from now on to a new file; [`Self::session`] comes next.
    pub fn record(&mut self, path: &Path, exits_all: bool) -> Result<()> {
        let epoch = self.pipeline.clock().boot_epoch_ns();
        let session = self.session_info();
        let header = Header::new(&Host::this(), epoch, clock::boot_ns(), session);
        let header = Header { exits_all, ..header };
        self.recorder = Some(Recorder::create(path, &header)?);
        Ok(())
    }

    /// The first event: what is watched, and how.
    pub fn session(&mut self) -> Result<Event> {
        self.session_after(None)
    }

    /// The first event of a session that goes on with a record.
    pub fn session_after(&mut self, after: Option<After>) -> Result<Event> {
        let now = clock::boot_ns();
        self.losses.begin(now);
        self.drained_ns = now;
        self.start_look(now);
        if let Some(after) = &after {
            self.pipeline.go_on_after(after.seq);
        }
        let session = SessionEvent { after, ..self.session_info() };
        Ok(self.pipeline.session(session, now))
    }

    /// The first event of another file of the same session.
    pub fn session_again(&mut self) -> Event {
        let session = self.session_info();
        self.pipeline.session(session, clock::boot_ns())
    }

    /// For somebody who begins to listen, without numbers: the session, and who serves what by now.
    #[must_use]
    pub fn for_listener(&self) -> Vec<Event> {
        self.pipeline.for_listener(self.session_info(), clock::boot_ns())
    }

    /// An event that tells of what was lost behind the pipeline.
    pub fn lost(&mut self, loss: LossEvent) -> Event {
        self.pipeline.lost(loss)
    }

    /// Events that have no number are for those who listen, and not for the record: stories that still grow.
    pub fn leave_growing_unnumbered(&mut self) {
        self.growing_numbered = false;
    }

    /// Tells the stories that grew or ended, those that it is time for included.
    fn tell_stories(
        &mut self,
        mut grown: Vec<IncidentEvent>,
        tell: &mut impl FnMut(Event) -> Result<()>,
    ) -> Result<()> {
        let now = jiff::Timestamp::now();
        if self.stories.deadline().is_some_and(|deadline| deadline.0 <= now) {
            grown.extend(self.stories.tick(Time(now)));
        }
        for incident in grown {
            let numbered = self.growing_numbered || !incident.open;
            tell(self.pipeline.incident(incident, numbered))?;
        }
        Ok(())
    }

    /// Number of the last event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.pipeline.seq()
    }

    /// Deaths with code 0 are told without a number, while somebody wants them.
    pub fn ordinary_for_listeners(&mut self, wanted: bool) -> Result<()> {
        self.pipeline.number_ordinary(false);
        self.pipeline.set_exits_all(wanted);
        self.kernel.set_exits_all(wanted)
    }

    /// Deaths with code 0 are told like all others, or not at all.
    pub fn record_ordinary(&mut self, all: bool) -> Result<()> {
        self.pipeline.number_ordinary(all);
        self.pipeline.set_exits_all(all);
        self.kernel.set_exits_all(all)
    }

    /// Programs that this kernel refused.
    #[must_use]
    pub fn refused(&self) -> Vec<HookInfo> {
        self.session_info().hooks.into_iter().filter(|hook| !hook.attached).collect()
    }

    /// The loaded programs.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Opens a pass over all descriptors, for a look of our own or for somebody who asks; `None` while another one runs.
    pub fn open_pass(&mut self, ports: &[u16]) -> Result<Option<Pass>> {
        self.turn.take(|| self.kernel.open_holders(ports))
    }

    /// Tells when no pass runs.
    #[must_use]
    pub fn turn(&self) -> Waiting {
        self.turn.waiting()
    }

    fn session_info(&self) -> SessionEvent {
        let hooks = self.kernel.attached.iter().map(|attached| HookInfo {
            program: attached.hook.program.to_owned(),
            hook: attached.hook.attach.to_string(),
            attached: attached.refused.is_none(),
            refused: attached.refused.clone(),
        });
        SessionEvent {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: preflight::release(),
            hooks: hooks.collect(),
            clock: ClockInfo {
                source: "CLOCK_BOOTTIME".to_owned(),
                boot_time: Time(self.pipeline.clock().time(0)),
            },
            after: None,
        }
    }

    /// Waits until there is something to do. Dropping the future loses nothing.
    pub async fn ready(&mut self) -> Result<()> {
        if std::mem::take(&mut self.swollen) {
            give_memory_back();
        }
        if self.found.is_some() {
            return Ok(());
        }
        let story = self.stories.deadline().map(|time| {
            let left = time.0.duration_since(jiff::Timestamp::now());
            clock::boot_ns() + u64::try_from(left.as_nanos()).unwrap_or(0)
        });
        let lent = self.look.is_none() && !self.turn.is_free();
        // A look that is due can't begin before the pass that somebody else reads is over.
        let due = self.pipeline.deadline_ns();
        let due = due.map(|due| if lent { due.max(clock::boot_ns() + LENT_NS) } else { due });
        let deadline = due.into_iter().chain(story).chain(self.losses.deadline_ns()).min();
        let mut turn = self.turn.waiting();
        tokio::select! {
            ready = self.rings.ready() => ready,
            () = until(deadline), if deadline.is_some() => Ok(()),
            found = look(&mut self.look), if self.look.is_some() => {
                self.look = None;
                self.found = Some(found);
                Ok(())
            }
            // Whoever was refused meanwhile waits for a look of ours.
            () = turn.free(), if lent => Ok(()),
        }
    }

    /// Starts a look when one is wanted, away from the thread that reads the rings.
    fn start_look(&mut self, now_ns: u64) {
        if self.look.is_some() || self.found.is_some() || !self.turn.is_free() {
            return;
        }
        let Some(look) = self.pipeline.look_wanted(now_ns) else { return };
        match self.pass_of_our_own(&look.ports) {
            Ok(pass) => self.look = Some(tokio::task::spawn_blocking(move || look.run(pass))),
            // As one that failed later: deaths and refusals are told without it.
            Err(error) => self.found = Some(Err(error)),
        }
    }

    fn pass_of_our_own(&mut self, ports: &[u16]) -> Result<Pass> {
        // Only this thread takes a turn, and it was free.
        self.open_pass(ports)?.context("two passes at a time")
    }

    fn looked(&mut self, found: Result<Looked>, now_ns: u64) -> Vec<Event> {
        if let Some(recorder) = &mut self.recorder {
            recorder.look(&found);
        }
        self.pipeline.looked(found, now_ns)
    }

    fn watch_holders(&mut self) -> Result<()> {
        let holders = self.pipeline.port_holders();
        if holders != self.watched {
            self.kernel.watch(&holders)?;
            self.watched = holders;
        }
        Ok(())
    }

    /// Events that are ready.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        self.events_each(|event| {
            events.push(event);
            Ok(())
        })?;
        Ok(events)
    }

    /// As [`Self::events`], one at a time; see [`Pipeline::feed_each`].
    pub fn events_each(&mut self, tell: impl FnMut(Event) -> Result<()>) -> Result<()> {
        self.drained(false, tell)
    }

    fn drained(&mut self, end: bool, mut tell: impl FnMut(Event) -> Result<()>) -> Result<()> {
        let records = self.rings.drain();
        self.swollen |= records.iter().map(bytes::Bytes::len).sum::<usize>() > SWOLLEN;
        let now = clock::boot_ns();
        if let Some(recorder) = &mut self.recorder {
            recorder.drain(now, &records);
        }
        let mut grown = Vec::new();
        let mut told = Ok(());
        let (stories, watched) = (&mut self.stories, &self.watched);
        self.pipeline.feed_each(&records, now, |event| {
            if is_evidence(&event, watched) {
                grown.extend(stories.push(&event));
            }
            if told.is_ok() {
                told = tell(event);
            }
        });
        told?;
        let mut more = match self.found.take() {
            Some(found) => self.looked(found, now),
            None => Vec::new(),
        };
        self.start_look(now);
        self.losses(&mut more, end)?;
        for event in more {
            if is_evidence(&event, &self.watched) {
                grown.extend(self.stories.push(&event));
            }
            tell(event)?;
        }
        self.tell_stories(grown, &mut tell)?;
        self.watch_holders()
    }

    /// Detaches nothing yet, but lets go of everything that is held back.
    pub async fn finish(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        self.drained(true, |event| {
            events.push(event);
            Ok(())
        })?;
        let known = events.len();
        if let Some(running) = self.look.take() {
            let found = running.await.context("the look at all descriptors")?;
            events.extend(self.looked(found, clock::boot_ns()));
        }
        // What was refused while that look ran.
        self.turn.waiting().free().await;
        if let Some(look) = self.pipeline.look_wanted(0) {
            let found = self.pass_of_our_own(&look.ports).and_then(|pass| look.run(pass));
            events.extend(self.looked(found, clock::boot_ns()));
        }
        events.extend(self.pipeline.finish());
        let new = events[known..].iter().filter(|event| is_evidence(event, &self.watched));
        let mut ends: Vec<_> = new.flat_map(|event| self.stories.push(event)).collect();
        ends.extend(self.stories.finish());
        // One that has not ended is not told as if it had: whoever looks back finds it in its events.
        for incident in ends.into_iter().filter(|incident| !incident.open) {
            events.push(self.pipeline.incident(incident, true));
        }
        Ok(events)
    }

    /// The eBPF object, for its log.
    pub fn ebpf_mut(&mut self) -> &mut aya::Ebpf {
        self.kernel.ebpf_mut()
    }

    fn losses(&mut self, events: &mut Vec<Event>, end: bool) -> Result<()> {
        let now = clock::boot_ns();
        let found = self.losses.found(&self.kernel, now, end)?;
        if let Some(recorder) = &mut self.recorder {
            recorder.losses(&found);
        }
        events.extend(found.iter().map(|loss| self.pipeline.loss(loss)));
        events.extend(self.pipeline.unreadable((self.drained_ns, now)));
        self.drained_ns = now;
        Ok(())
    }
}

/// Whether stories are made of it: what the record has not can't be evidence, nor are orderly deaths that only somebody who
/// asked for all of them sees. Whoever watches without them is told the same.
fn is_evidence(event: &Event, watched: &HashSet<u32>) -> bool {
    let ordinary = match &event.body {
        Body::Exit(exit) => {
            exit.status.code == Some(0)
                && exit.released.is_empty()
                && !watched.contains(&exit.process.pid)
        }
        _ => false,
    };
    event.seq > 0 && !ordinary
}

/// So many bytes of records at a time are not of a storm, but of a reader that stood still.
const SWOLLEN: usize = 512 * 1024;

/// How long to leave a look alone that is due while somebody else has the turn.
const LENT_NS: u64 = 10_000_000;

async fn look(running: &mut Option<JoinHandle<Result<Looked>>>) -> Result<Looked> {
    match running {
        Some(running) => running.await.context("the look at all descriptors")?,
        None => std::future::pending().await,
    }
}

async fn until(deadline_ns: Option<u64>) {
    let left = deadline_ns.unwrap_or(u64::MAX).saturating_sub(clock::boot_ns());
    tokio::time::sleep(Duration::from_nanos(left)).await;
}
