//! Contestants in turn, so that whatever else the machine does meets all of them alike.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{process, talk};

/// A command that is timed.
pub(crate) struct Contestant {
    /// As the table names it.
    pub(crate) name: String,
    /// Makes the command anew for each round.
    pub(crate) command: Box<dyn Fn() -> Command>,
}

impl Contestant {
    pub(crate) fn new(name: &str, command: impl Fn() -> Command + 'static) -> Self {
        Self { name: name.to_owned(), command: Box::new(command) }
    }
}

/// Times each `rounds` times, A B A B, after one round that does not count; prints medians, ranges and ratios to the first.
pub(crate) fn race(title: &str, contestants: &[Contestant], rounds: usize) -> Result<()> {
    talk::step(title);
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let mut command = (contestant.command)();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let began = Instant::now();
            // 1 is an answer too: nobody holds it, nothing matches.
            let status = command.status();
            status
                .with_context(|| format!("`{}` could not be started", process::line(&command)))?;
            if round > 0 {
                times.push(began.elapsed());
            }
        }
    }
    let mut first = None;
    for (contestant, mut times) in contestants.iter().zip(times) {
        times.sort();
        let (Some(least), Some(most)) = (times.first(), times.last()) else { continue };
        let median = times[times.len() / 2];
        let ratio = median.as_secs_f64() / first.get_or_insert(median).as_secs_f64();
        talk::note(&format!(
            "{:<44} median {:>7.1} ms   ({:.1} to {:.1})   {ratio:>5.1} x",
            contestant.name,
            median.as_secs_f64() * 1e3,
            least.as_secs_f64() * 1e3,
            most.as_secs_f64() * 1e3,
        ));
    }
    Ok(())
}
