//! Storms of one user while the reader is stopped: what is kept of another user's, and how refusals that come again are counted.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::contestants::{TAIL, observer};
use super::overhead::Binaries;
use super::sys;
use crate::{process, talk};

/// Two users who are nobody on any machine.
const STORM: &str = "61010";
const OTHER: &str = "61020";
/// More than each ring holds.
const DEATHS: u64 = 40_000;
const ADDRESSES: u64 = 2000;
/// What the other user does after that.
const OTHERS_DEATHS: u64 = 100;
const OTHERS_REFUSALS: u64 = 50;
/// Refusals of one process at one address, beside a reader that runs.
const AGAIN: u64 = 200_000;

/// Events by the name of their process, and what they stand for.
type Counted = BTreeMap<String, (u64, u64)>;

/// What came through.
pub(crate) struct Storms {
    /// Of the other user's deaths, and of the refusals.
    pub(crate) deaths: (u64, u64),
    pub(crate) refusals: (u64, u64),
    /// Of refusals that came again: events, what they stand for, and how many there were.
    pub(crate) again: (u64, u64, u64),
    /// The reader's processor time for all of those, in milliseconds.
    pub(crate) reader_ms: u64,
}

pub(crate) fn run(binaries: &Binaries) -> Result<Storms> {
    talk::step("storms of one user, and what is kept of another");
    let mut server = Command::new(&binaries.workload)
        .args(["hold", "tcp", "0.0.0.0:0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let port = port(&mut server);
    let measured = port.and_then(|port| measure(binaries, &port));
    // It is ours, and is reaped here.
    let _ = server.kill();
    let _ = server.wait();
    let storms = measured?;
    talk::note(&format!(
        "of another user's {} deaths {} are kept, of {} refusals {}",
        storms.deaths.1, storms.deaths.0, storms.refusals.1, storms.refusals.0
    ));
    let (events, sum, all) = storms.again;
    talk::note(&format!(
        "{all} refusals of one process: {events} events that stand for {sum}, {} ms of the reader",
        storms.reader_ms
    ));
    Ok(storms)
}

fn measure(binaries: &Binaries, port: &str) -> Result<Storms> {
    let stopped = observer(&binaries.observer, TAIL, &[]).start()?;
    sys::signal(stopped.pid(), libc::SIGSTOP)?;
    let did = [
        (STORM, "storm-deaths", vec!["storm".to_owned(), DEATHS.to_string(), "1".to_owned()]),
        (STORM, "storm-refused", refusals(ADDRESSES, port)),
        (
            OTHER,
            "other-deaths",
            vec!["storm".to_owned(), OTHERS_DEATHS.to_string(), "1".to_owned()],
        ),
        (OTHER, "other-refused", refusals(OTHERS_REFUSALS, port)),
    ];
    let done: Result<()> =
        did.iter().try_for_each(|(user, name, words)| by(&binaries.workload, user, name, words));
    sys::signal(stopped.pid(), libc::SIGCONT)?;
    done?;
    stopped.settle();
    let counted: Counted = stopped.count(tally)?;
    let of = |name: &str| counted.get(name).map_or((0, 0), |both| *both);

    let running = observer(&binaries.observer, TAIL, &[]).start()?;
    let before = sys::cpu_ns(running.pid());
    let words =
        ["bind".to_owned(), AGAIN.to_string(), "tcp".to_owned(), format!("127.0.0.1:{port}")];
    by(&binaries.workload, STORM, "again", &words)?;
    running.settle();
    let reader_ms = (sys::cpu_ns(running.pid()) - before) / 1_000_000;
    let counted_again: Counted = running.count(tally)?;
    let (events, sum) = counted_again.get("again").map_or((0, 0), |both| *both);
    Ok(Storms {
        // The process that makes the storm ends with code 0, and is not told.
        deaths: (of("other-deaths").0, OTHERS_DEATHS),
        refusals: (of("other-refused").1, OTHERS_REFUSALS),
        again: (events, sum, AGAIN),
        reader_ms,
    })
}

fn refusals(number: u64, port: &str) -> Vec<String> {
    vec!["many-refusals".to_owned(), number.to_string(), port.to_owned()]
}

/// Runs it as that user under that name.
fn by(workload: &Path, user: &str, name: &str, words: &[String]) -> Result<()> {
    let mut command = Command::new(workload);
    command.args(["named", name, "as-user", user]).args(words).stdout(Stdio::null());
    process::run_quietly(&mut command)
}

fn port(server: &mut std::process::Child) -> Result<String> {
    let out = BufReader::new(server.stdout.take().context("its output is a pipe")?);
    for line in out.lines() {
        if let Some(("port", port)) = line?.split_once('=') {
            return Ok(port.to_owned());
        }
    }
    anyhow::bail!("the server says no port")
}

/// By the name of the process: deaths and refusals, and what they stand for.
fn tally(line: &str, counted: &mut Counted) -> Result<()> {
    let is_one = [r#""kind":"exit""#, r#""kind":"bind""#].iter().any(|kind| line.contains(kind));
    if !is_one {
        return Ok(());
    }
    let event: Value = serde_json::from_str(line)?;
    let name = event["process"]["comm"].as_str().unwrap_or_default().to_owned();
    let both = counted.entry(name).or_default();
    both.0 += 1;
    both.1 += 1 + event["repeats"].as_u64().unwrap_or(0);
    Ok(())
}
