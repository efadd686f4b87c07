//! Work that another process may hold up for ever (a path on its FUSE mount, arguments in memory that is a file there), on
//! threads of its own that nobody waits for longer than they deserve.
//!
//! **Bounded:** [`HANGING`] threads that hang, after which work is done carefully: without what may hang. At most [`MOST`] in all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// So many threads may hang before work is done carefully.
const HANGING: usize = 4;
/// And so many in all: more would hang where nothing should.
const MOST: usize = 8;

/// How scans do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanHealth {
    /// How many failed or were given up since the service began: what waited for them was told without.
    pub failed: u64,
    /// How many threads of such scans still hang.
    pub hanging: usize,
    /// Paths and arguments are left alone, since too many threads hang.
    pub careful: bool,
}

/// The threads.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    running: Arc<AtomicUsize>,
    waited_for: Arc<AtomicUsize>,
    failed: Arc<AtomicU64>,
}

/// Work under way.
pub struct Pending<T> {
    outcome: oneshot::Receiver<T>,
    until: Instant,
    threads: Threads,
}

impl Threads {
    /// Starts work that may take `patience`; it learns whether it must be careful.
    pub fn start<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(bool) -> T + Send + 'static,
    ) -> Result<Pending<T>> {
        if self.running.load(Ordering::Relaxed) >= MOST {
            bail!(
                "{MOST} earlier scans hang: something keeps every read of /proc from coming back"
            );
        }
        let (sender, outcome) = oneshot::channel();
        let (running, careful) = (Arc::clone(&self.running), self.is_careful());
        running.fetch_add(1, Ordering::Relaxed);
        let started = std::thread::Builder::new().name("scan".to_owned()).spawn(move || {
            // Nobody waits for it any more, perhaps.
            let _ = sender.send(work(careful));
            running.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = started {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Err(error).context("can't start a thread for a scan");
        }
        self.waited_for.fetch_add(1, Ordering::Relaxed);
        Ok(Pending { outcome, until: Instant::now() + patience, threads: self.clone() })
    }

    /// One more that failed.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How they do.
    #[must_use]
    pub fn health(&self) -> ScanHealth {
        let (failed, careful) = (self.failed.load(Ordering::Relaxed), self.is_careful());
        ScanHealth { failed, hanging: self.hanging(), careful }
    }

    fn hanging(&self) -> usize {
        let waited_for = self.waited_for.load(Ordering::Relaxed);
        self.running.load(Ordering::Relaxed).saturating_sub(waited_for)
    }

    fn is_careful(&self) -> bool {
        self.hanging() >= HANGING
    }
}

impl<T> Pending<T> {
    /// Its outcome, or an error when it takes too long. Dropping the future loses nothing.
    pub async fn outcome(&mut self) -> Result<T> {
        let until = tokio::time::Instant::from_std(self.until);
        match tokio::time::timeout_at(until, &mut self.outcome).await {
            Ok(outcome) => outcome.context("the thread of a scan broke off"),
            Err(_elapsed) => bail!(
                "it was given up: a path or a process of somebody else's keeps it from coming back"
            ),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.threads.waited_for.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::{HANGING, MOST, Threads};

    #[test]
    fn what_hangs_is_given_up_and_then_work_is_careful() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let threads = Threads::default();
        let (free, hang) = mpsc::channel::<()>();
        let hang = std::sync::Arc::new(std::sync::Mutex::new(hang));
        runtime.expect("a runtime").block_on(async {
            for n in 0..MOST {
                let hang = std::sync::Arc::clone(&hang);
                let work = move |careful: bool| {
                    drop(hang.lock().map(|hang| hang.recv()));
                    careful
                };
                let mut pending = threads.start(Duration::ZERO, work).expect("a thread");
                let outcome = pending.outcome().await;
                assert!(outcome.is_err(), "it hangs");
                drop(pending);
                assert_eq!(threads.health().hanging, n + 1);
                assert_eq!(threads.health().careful, n + 1 >= HANGING);
            }
            assert!(threads.start(Duration::ZERO, |_| ()).is_err(), "no more");
            drop(free);
            while threads.health().hanging > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut again = threads.start(Duration::from_mins(1), |careful| careful).expect("one");
            assert!(!again.outcome().await.expect("it ends"));
        });
    }
}
