//! Who holds a port: `observer ports` beside `ss`, `lsof` and `fuser`, in a network namespace of many listeners.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::pairs::{Contestant, Race, race};
use super::service::Place;
use crate::build::{self, Build};
use crate::{process, talk};

/// Processes, and sockets of each: a large host, and one with many listeners besides.
const CROWDS: [(&str, &str); 2] = [("2000", "1"), ("2000", "25")];
/// Part of the title of the largest crowd.
pub(crate) const LARGE: &str = "with 25 listeners";
/// One of the crowd's ports.
const PORT: &str = "20000";

/// The service has its programs loaded, but runs in another network namespace than the others here.
const ASKING: &str = "observer ports 9, of the service";
/// The scan of all descriptors alone, as `observer` times it.
pub(crate) const PASS: &str = "observer ports 9: the scan alone";

/// All crowds, one after the other.
pub(crate) fn run(rounds: usize) -> Result<Vec<Race>> {
    let observer = build::observer(Build::Release)?;
    let workload = build::workload(Build::Release)?;
    let one = |(processes, sockets)| beside(&observer, &workload, processes, sockets, rounds);
    CROWDS.into_iter().map(one).collect()
}

fn beside(
    observer: &Path,
    workload: &Path,
    processes: &str,
    sockets: &str,
    rounds: usize,
) -> Result<Race> {
    let mut crowd = Command::new(workload);
    crowd.args(["in-netns", "crowd", processes, sockets]).stdout(Stdio::piped());
    let crowd = Crowd(crowd.spawn().context("the crowd could not be started")?);
    let (crowd, pid) = crowd.ready()?;
    let there = |program: &Path, name: &str, words: &[&str]| {
        let (pid, program) = (pid.clone(), program.to_owned());
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Contestant::new(name, move || {
            let mut command = Command::new("nsenter");
            command.args(["--net", "--target", &pid]).arg(&program).args(&words);
            command
        })
    };
    let service = ["--socket", "/nonexistent/observer.sock"];
    let own = |port| {
        there(observer, &format!("observer ports {port}"), &["ports", port, service[0], service[1]])
    };
    let place = Place::new()?;
    let running = place.serve(observer).start()?;
    let socket = place.socket();
    let asking = ["ports", "9", "--socket", &socket];
    // Port 9, which nobody has: a whole scan without a result. PORT, which all have.
    let mut contestants = vec![own("9"), own(PORT), there(observer, ASKING, &asking)];
    let lsof = format!("-iTCP:{PORT}");
    for words in [
        &["ss", "-tlnp"][..],
        &["ss", "-tlnp", "sport = :9"],
        &["lsof", "-nP", &lsof],
        &["fuser", "-n", "tcp", PORT],
    ] {
        let [program, rest @ ..] = words else { continue };
        if process::find(program).is_none() {
            talk::note(&format!("left out: {program} is not installed"));
            continue;
        }
        contestants.push(there(Path::new(program), &words.join(" "), rest));
    }
    let title = format!("A port among {processes} processes with {sockets} listeners each");
    let mut race = race(&title, &contestants, rounds)?;
    let mut passes = Vec::new();
    for _ in 0..rounds {
        let mut command = (own("9").command)();
        passes.push(pass_ms(command.env("RUST_LOG", "observer=debug"))?);
    }
    race.add(PASS, passes);
    running.stop()?;
    drop(crowd);
    Ok(race)
}

fn pass_ms(command: &mut Command) -> Result<f64> {
    let said = command.output()?.stderr;
    let said = String::from_utf8_lossy(&said);
    let us = said.split_once("scan_us=").and_then(|(_, rest)| rest.split(' ').next());
    let us: f64 = us.context("observer timed no scan")?.parse()?;
    Ok(us / 1e3)
}

/// Ends when it is dropped.
struct Crowd(Child);

impl Crowd {
    /// Waits until all processes listen; returns the pid of one in their network namespace.
    fn ready(mut self) -> Result<(Self, String)> {
        let out = self.0.stdout.take().context("no pipe")?;
        let mut member = None;
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Some(pid) = line.strip_prefix("last_pid=") {
                member = Some(pid.to_owned());
            }
            if line == "ready=1" {
                return Ok((self, member.context("the crowd printed no pid")?));
            }
        }
        bail!("the crowd ended: it needs root")
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Its children end with it. If it can't be killed, it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
