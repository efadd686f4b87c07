//! Times commands in turn, so that other work on the machine affects all alike.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{process, talk};

/// A command that is timed.
pub(crate) struct Contestant {
    /// As the table names it.
    pub(crate) name: String,
    /// Makes the command of each round.
    pub(crate) command: Box<dyn Fn() -> Command>,
}

impl Contestant {
    pub(crate) fn new(name: &str, command: impl Fn() -> Command + 'static) -> Self {
        Self { name: name.to_owned(), command: Box::new(command) }
    }
}

/// Results of a race.
pub(crate) struct Race {
    /// The common task.
    pub(crate) title: String,
    pub(crate) contestants: Vec<Raced>,
}

/// One command; `ratio` is to the first one.
pub(crate) struct Raced {
    pub(crate) name: String,
    pub(crate) median_ms: f64,
    pub(crate) least_ms: f64,
    pub(crate) most_ms: f64,
    pub(crate) ratio: f64,
}

impl Race {
    /// Adds the times of one command, in milliseconds, and prints them.
    pub(crate) fn add(&mut self, name: &str, mut times: Vec<f64>) {
        times.sort_by(f64::total_cmp);
        let ms = |time: Option<&f64>| time.copied().unwrap_or(f64::NAN);
        let median_ms = ms(times.get(times.len() / 2));
        let first = self.contestants.first().map_or(median_ms, |first| first.median_ms);
        let one = Raced {
            name: name.to_owned(),
            median_ms,
            least_ms: ms(times.first()),
            most_ms: ms(times.last()),
            ratio: median_ms / first,
        };
        talk::note(&format!(
            "{:<44} median {:>7.1} ms   ({:.1} to {:.1})   {:>5.1} x",
            one.name, one.median_ms, one.least_ms, one.most_ms, one.ratio
        ));
        self.contestants.push(one);
    }
}

/// Times each `rounds` times, A B A B, after one round that does not count; prints medians, ranges and ratios to the first.
pub(crate) fn race(title: &str, contestants: &[Contestant], rounds: usize) -> Result<Race> {
    talk::step(title);
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let mut command = (contestant.command)();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let began = Instant::now();
            // Exit status 1 is a result too: no holder, no match.
            let status = command.status();
            status
                .with_context(|| format!("`{}` could not be started", process::line(&command)))?;
            if round > 0 {
                times.push(began.elapsed());
            }
        }
    }
    let mut race = Race { title: title.to_owned(), contestants: Vec::new() };
    for (contestant, times) in contestants.iter().zip(times) {
        race.add(&contestant.name, times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
    }
    Ok(race)
}
