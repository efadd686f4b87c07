//! Runs several guests at a time: a test mostly waits, which leaves a core half idle.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};

use super::qemu::{Ended, Guest};
use crate::talk;

/// Debian's 6.12 crashes at random under TCG, also before observer is loaded.
const TRIES: u32 = 3;

/// Boots each guest, at most `jobs` at a time, and returns the results in the same order; calls `each` with each result.
pub(super) fn run(
    guests: &[Guest],
    jobs: usize,
    each: impl Fn(&Guest, &Ended) -> Result<()> + Sync,
) -> Result<Vec<Ended>> {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..guests.len()).collect());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || -> Result<Vec<(usize, Ended)>> {
        let mut done = Vec::new();
        while let Some(index) = next() {
            let ended = boot_named(&guests[index], jobs > 1)?;
            each(&guests[index], &ended)?;
            done.push((index, ended));
        }
        Ok(done)
    };
    let mut ended = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_panic| anyhow!("a guest's thread panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    ended.sort_by_key(|(index, _)| *index);
    Ok(ended.into_iter().map(|(_, ended)| ended).collect())
}

/// Boots one guest alone.
pub(crate) fn boot(guest: &Guest) -> Result<Ended> {
    boot_named(guest, false)
}

/// Boots again if the guest itself crashed, which is no result of a test, and prints that it did.
fn boot_named(guest: &Guest, named: bool) -> Result<Ended> {
    let version = &guest.kernel.version;
    let mut attempt = 1;
    loop {
        talk::step(&format!("guest {version} ({})", guest.kernel.package));
        let ended = guest.run(named)?;
        let Ended::Crashed { why } = &ended else { return Ok(ended) };
        talk::problem(&format!("guest {version} crashed, attempt {attempt} of {TRIES}: {why}"));
        if attempt == TRIES {
            return Ok(ended);
        }
        attempt += 1;
    }
}
