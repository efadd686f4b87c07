//! The live kernel as a source of events, losses included.

use std::time::Duration;

use anyhow::{Context, Result};
use observer_common::loss::{SLOTS, lost_kind};

use crate::{
    enrich::Host,
    kernel::{Kernel, clock, clock::Clock, load::Options, preflight, rings::RingReader},
    model::{ClockInfo, Event, HookInfo, SessionEvent, Time},
    pipeline::Pipeline,
};

/// Loaded programs and the pipeline behind them.
pub struct Live {
    kernel: Kernel,
    rings: RingReader,
    pipeline: Pipeline,
    losses: Losses,
}

impl Live {
    /// Loads the programs; must run under tokio.
    pub fn start(options: Options) -> Result<Self> {
        let mut kernel = Kernel::load(options)?;
        let rings = kernel.take_rings().context("rings taken twice")?.watch()?;
        let pipeline = Pipeline::new(Host::this(), Clock::new());
        Ok(Self { kernel, rings, pipeline, losses: Losses::default() })
    }

    /// The first event: what is watched, and how.
    pub fn session(&mut self) -> Event {
        let now = clock::boot_ns();
        let hooks = self.kernel.attached.iter().map(|attached| HookInfo {
            program: attached.hook.program.to_owned(),
            hook: attached.hook.attach.to_string(),
            attached: attached.refused.is_none(),
            refused: attached.refused.clone(),
        });
        let session = SessionEvent {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: preflight::release(),
            hooks: hooks.collect(),
            clock: ClockInfo {
                source: "CLOCK_BOOTTIME".to_owned(),
                boot_time: Time(Clock::new().time(0)),
            },
        };
        self.losses.since_ns = now;
        self.pipeline.session(session, now)
    }

    /// Waits until there is something to do. Dropping the future loses nothing.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = self.pipeline.deadline_ns();
        tokio::select! {
            ready = self.rings.ready() => ready,
            () = until(deadline), if deadline.is_some() => Ok(()),
        }
    }

    /// Events that are ready.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let records = self.rings.drain();
        let mut events = self.pipeline.feed(&records, clock::boot_ns());
        self.losses(&mut events)?;
        Ok(events)
    }

    /// Detaches nothing yet, but lets go of everything that is held back.
    pub fn finish(&mut self) -> Result<Vec<Event>> {
        let mut events = self.events()?;
        events.extend(self.pipeline.finish());
        Ok(events)
    }

    /// The eBPF object, for its log.
    pub fn ebpf_mut(&mut self) -> &mut aya::Ebpf {
        self.kernel.ebpf_mut()
    }

    fn losses(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let now = clock::boot_ns();
        let span = (self.losses.since_ns, now);
        let lost = self.kernel.lost()?;
        for (slot, (count, known)) in (0..SLOTS).zip(lost.iter().zip(&mut self.losses.lost)) {
            if *count > *known {
                let kind = lost_kind(slot);
                let reason = match kind {
                    "signal" => "the kernel had no room for the sender of a signal",
                    _ => "the ring was full: they came faster than they could be written out",
                };
                events.push(self.pipeline.loss(kind, *count - *known, span, reason, false));
                *known = *count;
            }
        }
        let skipped = self.kernel.skipped_exits();
        if skipped > self.losses.skipped {
            let count = skipped - self.losses.skipped;
            let reason = "the kernel skipped the exit programs for a thread that was preempted inside them";
            events.push(self.pipeline.loss("exit", count, span, reason, true));
            self.losses.skipped = skipped;
        }
        let undecodable = self.pipeline.undecodable;
        if undecodable > self.losses.undecodable {
            let count = undecodable - self.losses.undecodable;
            events.push(self.pipeline.loss("unknown", count, span, "they could not be decoded", false));
            self.losses.undecodable = undecodable;
        }
        self.losses.since_ns = now;
        Ok(())
    }
}

/// What was already told.
#[derive(Default)]
struct Losses {
    since_ns: u64,
    lost: [u64; SLOTS as usize],
    skipped: u64,
    undecodable: u64,
}

async fn until(deadline_ns: Option<u64>) {
    let left = deadline_ns.unwrap_or(u64::MAX).saturating_sub(clock::boot_ns());
    tokio::time::sleep(Duration::from_nanos(left)).await;
}
