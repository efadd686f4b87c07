//! The live kernel as a source of events, losses included.

use std::{collections::HashSet, path::Path, time::Duration};

use anyhow::{Context, Result};
use observer_common::loss::{SLOTS, lost_kind};
use tokio::task::JoinHandle;

use super::record::Recorder;
use crate::{
    enrich::{Enricher, Host, Symbols},
    kernel::{
        Kernel, clock, clock::Clock, load::Options, loss::Loss, preflight, recording::Header,
        rings::RingReader,
    },
    model::{ClockInfo, Event, HookInfo, SessionEvent, Time},
    pipeline::{Looked, Pipeline, Ports},
};

/// Loaded programs and the pipeline behind them.
pub struct Live {
    kernel: Kernel,
    rings: RingReader,
    pipeline: Pipeline,
    losses: Losses,
    recorder: Option<Recorder>,
    look: Option<JoinHandle<Result<Looked>>>,
    found: Option<Result<Looked>>,
    watched: HashSet<u32>,
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
            pipeline.watch_ports(Ports::new(!kernel.listen_stop));
        }
        let losses = Losses::default();
        Ok(Self {
            kernel,
            rings,
            pipeline,
            losses,
            recorder: None,
            look: None,
            found: None,
            watched: HashSet::new(),
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
        let now = clock::boot_ns();
        self.losses.since_ns = now;
        let session = self.session_info();
        self.start_look(now)?;
        Ok(self.pipeline.session(session, now))
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
        }
    }

    /// Waits until there is something to do. Dropping the future loses nothing.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = self.pipeline.deadline_ns();
        tokio::select! {
            ready = self.rings.ready() => ready,
            () = until(deadline), if deadline.is_some() => Ok(()),
            found = look(&mut self.look), if self.look.is_some() => {
                self.look = None;
                self.found = Some(found);
                Ok(())
            }
        }
    }

    /// Starts a look when one is wanted, away from the thread that reads the rings.
    fn start_look(&mut self, now_ns: u64) -> Result<()> {
        if self.look.is_some() || self.found.is_some() {
            return Ok(());
        }
        let Some(look) = self.pipeline.look_wanted(now_ns) else { return Ok(()) };
        let iterator = self.kernel.open_holders(&look.ports)?;
        self.look = Some(tokio::task::spawn_blocking(move || look.run(iterator)));
        Ok(())
    }

    fn looked(&mut self, found: Result<Looked>) -> Vec<Event> {
        if let Some(recorder) = &mut self.recorder {
            recorder.look(&found);
        }
        self.pipeline.looked(found)
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
        let records = self.rings.drain();
        let now = clock::boot_ns();
        if let Some(recorder) = &mut self.recorder {
            recorder.drain(now, &records);
        }
        let mut events = self.pipeline.feed(&records, now);
        if let Some(found) = self.found.take() {
            events.extend(self.looked(found));
        }
        self.start_look(now)?;
        self.watch_holders()?;
        self.losses(&mut events)?;
        Ok(events)
    }

    /// Detaches nothing yet, but lets go of everything that is held back.
    pub async fn finish(&mut self) -> Result<Vec<Event>> {
        let mut events = self.events()?;
        if let Some(running) = self.look.take() {
            let found = running.await.context("the look at all descriptors")?;
            events.extend(self.looked(found));
        }
        // What was refused while that look ran.
        if let Some(look) = self.pipeline.look_wanted(0) {
            let iterator = self.kernel.open_holders(&look.ports)?;
            events.extend(self.looked(look.run(iterator)));
        }
        events.extend(self.pipeline.finish());
        Ok(events)
    }

    /// The eBPF object, for its log.
    pub fn ebpf_mut(&mut self) -> &mut aya::Ebpf {
        self.kernel.ebpf_mut()
    }

    fn losses(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let now = clock::boot_ns();
        let span_ns = (self.losses.since_ns, now);
        let mut found = Vec::new();
        let mut loss = |kind: &str, count, reason: &str, at_most| {
            let (kind, reason) = (kind.to_owned(), reason.to_owned());
            found.push(Loss { kind, count, span_ns, reason, at_most });
        };
        let lost = self.kernel.lost()?;
        for (slot, (count, known)) in (0..SLOTS).zip(lost.iter().zip(&mut self.losses.lost)) {
            if *count > *known {
                let kind = lost_kind(slot);
                let reason = match kind {
                    "signal" => "the kernel had no room for the sender of a signal",
                    _ => "the ring was full: they came faster than they could be written out",
                };
                loss(kind, *count - *known, reason, false);
                *known = *count;
            }
        }
        let skipped = self.kernel.skipped_exits();
        if skipped > self.losses.skipped {
            let reason =
                "the kernel skipped the exit programs for a thread that was preempted inside them";
            loss("exit", skipped - self.losses.skipped, reason, true);
            self.losses.skipped = skipped;
        }
        self.losses.since_ns = now;
        if let Some(recorder) = &mut self.recorder {
            recorder.losses(&found);
        }
        events.extend(found.iter().map(|loss| self.pipeline.loss(loss)));
        events.extend(self.pipeline.unreadable(span_ns));
        Ok(())
    }
}

/// What was already told.
#[derive(Default)]
struct Losses {
    since_ns: u64,
    lost: [u64; SLOTS as usize],
    skipped: u64,
}

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
