//! The end of a run: the last records, the scans that they wait for, and what is told without.
//!
//! **Bounded:** by [`ENDING`].

use std::time::Duration;

use anyhow::Result;

use super::{Live, Scanned, in_words, over};
use crate::{engine::Input, kernel::clock, model::Event};

/// How long the scans of the end may take: what waits for them is told without.
const ENDING: Duration = Duration::from_secs(2);

impl Live {
    /// Pushes the last of it, waits for the scans that it takes, and emits everything that waits. Detaches nothing yet.
    pub async fn finish(&mut self, mut emit: impl FnMut(Event)) -> Result<()> {
        self.cycle(true, &mut emit)?;
        while !self.backlog.is_empty() {
            self.cycle(true, &mut emit)?;
        }
        if tokio::time::timeout(ENDING, self.last_scans(&mut emit)).await.is_err() {
            tracing::warn!("the last scans took too long: what waited for them is told without");
        }
        self.engine.finish(emit);
        Ok(())
    }

    async fn last_scans(&mut self, emit: &mut impl FnMut(Event)) {
        if self.scan.is_some() {
            let scanned = over(&mut self.scan).await;
            self.scan = None;
            self.late_scan(scanned, emit);
        }
        // What was refused while that scan ran.
        self.turn.waiter().free().await;
        if let Some(request) = self.engine.wants_scan(clock::boot_ns()) {
            match self.begin_scan(request) {
                Ok(pending) => {
                    self.scan = Some(pending);
                    let scanned = over(&mut self.scan).await;
                    self.scan = None;
                    self.late_scan(scanned, emit);
                }
                Err(error) => self.late_scan(Err(in_words(error)), emit),
            }
        }
    }

    fn late_scan(&mut self, scanned: Scanned, emit: &mut impl FnMut(Event)) {
        let now = clock::boot_ns();
        self.push(now, Input::Tick, emit);
        self.push(now, Input::Scan(scanned), emit);
    }
}
