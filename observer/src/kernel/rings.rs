//! Reads the rings: waits for the first record, waits [`GATHER`] for more, then drains them all.
//!
//! The kernel wakes a reader only when it had caught up. A reader that waits 10 ms after each wake-up wakes at most about 100
//! times a second under any load, and never when nothing happens. A wake-up for each record would cost 8 µs each.
//!
//! **Bounded:** a drain takes about [`DRAIN_MAX`] bytes; the rest waits in the rings, which have a fixed size.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

use super::{handover::ledger::Ledger, load::take};

/// How long the reader waits between wake-up and drain.
const GATHER: Duration = Duration::from_millis(10);

/// The rings of all families.
pub struct Rings {
    oom: RingBuf<MapData>,
    refusal: RingBuf<MapData>,
    port: RingBuf<MapData>,
    exit: RingBuf<MapData>,
}

impl Rings {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let mut ring = |name| RingBuf::try_from(take(ebpf, name)?).context(name);
        Ok(Self {
            oom: ring("OOM_RING")?,
            refusal: ring("REFUSAL_RING")?,
            port: ring("PORT_RING")?,
            exit: ring("EXIT_RING")?,
        })
    }

    /// Hands the rings to the runtime.
    pub fn watch(self) -> Result<RingReader> {
        let watch = |ring: RingBuf<MapData>| {
            // SAFETY: a `RingBuf` owns its map's file descriptor and keeps it open, the same one, until it is dropped,
            // which `AsyncFd` does after it has deregistered.
            unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
                .context("ring buffer")
        };
        Ok(RingReader {
            oom: watch(self.oom)?,
            refusal: watch(self.refusal)?,
            port: watch(self.port)?,
            exit: watch(self.exit)?,
            bytes: BytesMut::new(),
            more: false,
            was_refused: false,
            due: None,
            ledger: None,
        })
    }
}

/// A drain stops after this many bytes; the rest waits in the rings.
const DRAIN_MAX: usize = 4 * 1024 * 1024;

/// Largest buffer that is kept for the next drain, in bytes.
const KEPT: usize = 256 * 1024;

/// Reads the rings under tokio.
pub struct RingReader {
    oom: AsyncFd<RingBuf<MapData>>,
    refusal: AsyncFd<RingBuf<MapData>>,
    port: AsyncFd<RingBuf<MapData>>,
    exit: AsyncFd<RingBuf<MapData>>,
    /// Buffer of a drain; reused once all of its records are dropped.
    bytes: BytesMut,
    /// The last drain stopped at [`DRAIN_MAX`].
    more: bool,
    /// The last drain brought refusals.
    was_refused: bool,
    /// When to drain. Kept, since the kernel wakes only once until the rings are drained.
    due: Option<Instant>,
    /// Counts what is taken out.
    ledger: Option<Arc<Ledger>>,
}

impl RingReader {
    /// Counts what is taken out from now on.
    pub fn count(&mut self, ledger: Arc<Ledger>) {
        self.ledger = Some(ledger);
    }

    /// Waits until a ring has a record, then [`GATHER`] for more; OOM kills don't wait. Cancel safe.
    pub async fn ready(&mut self) -> Result<()> {
        if self.more {
            return Ok(());
        }
        let due = match self.due {
            // The future was dropped during that wait.
            Some(due) => due,
            None => self.woken().await?,
        };
        self.due = Some(due);
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        Ok(())
    }

    /// Waits until a ring has a record; returns when to drain. Cancel safe, but the caller must keep the result.
    async fn woken(&mut self) -> Result<Instant> {
        let gather = tokio::select! {
            guard = self.oom.readable_mut() => {
                guard?.clear_ready();
                Duration::ZERO
            }
            guard = self.refusal.readable_mut() => {
                guard?.clear_ready();
                GATHER
            }
            guard = self.port.readable_mut() => {
                guard?.clear_ready();
                GATHER
            }
            guard = self.exit.readable_mut() => {
                guard?.clear_ready();
                GATHER
            }
        };
        Ok(Instant::now() + gather)
    }

    /// Whether the last drain brought refusals.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// Takes the records out of every ring.
    pub fn drain(&mut self) -> Vec<Bytes> {
        let mut lengths = Vec::new();
        self.more = false;
        self.due = None;
        self.was_refused = false;
        let rings = [&mut self.oom, &mut self.refusal, &mut self.port, &mut self.exit];
        for (index, ring) in rings.into_iter().enumerate() {
            let ring = ring.get_mut();
            while let Some(item) = ring.next() {
                if let Some(ledger) = &self.ledger {
                    ledger.take(&item);
                }
                self.bytes.extend_from_slice(&item);
                lengths.push(item.len());
                self.was_refused |= index == 1;
                if self.bytes.len() > DRAIN_MAX {
                    self.more = true;
                    break;
                }
            }
        }
        let mut bytes = self.bytes.split().freeze();
        if bytes.len() > KEPT {
            self.bytes = BytesMut::new();
        }
        lengths.into_iter().map(|len| bytes.split_to(len)).collect()
    }
}
