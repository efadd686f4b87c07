//! Who holds a port: `observer ports` beside `ss`, `lsof` and `fuser`, in a network namespace of many listeners.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::pairs::{Contestant, Race, race};
use crate::build::{self, Build};
use crate::{process, talk};

/// Processes, and sockets of each: a large host, and one with many listeners besides.
const CROWDS: [(&str, &str); 2] = [("2000", "1"), ("2000", "25")];
/// One of the crowd's ports.
const PORT: &str = "20000";

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
    // One that nobody has: the whole cost of looking. One that all have.
    let mut contestants = vec![own("9"), own(PORT)];
    let lsof = format!("-iTCP:{PORT}");
    for words in [
        &["ss", "-tlnp"][..],
        &["ss", "-tlnp", "sport = :9"],
        &["lsof", "-nP", &lsof],
        &["fuser", "-n", "tcp", PORT],
    ] {
        let [program, rest @ ..] = words else { continue };
        if process::find(program).is_none() {
            talk::note(&format!("{program} is not installed, and left out"));
            continue;
        }
        contestants.push(there(Path::new(program), &words.join(" "), rest));
    }
    let title = format!("A port among {processes} processes with {sockets} listeners each");
    let race = race(&title, &contestants, rounds)?;
    drop(crowd);
    Ok(race)
}

/// Ends with us.
struct Crowd(Child);

impl Crowd {
    /// Waits until everybody serves; gives a process that lives in their network namespace.
    fn ready(mut self) -> Result<(Self, String)> {
        let out = self.0.stdout.take().context("no pipe")?;
        let mut member = None;
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Some(pid) = line.strip_prefix("last_pid=") {
                member = Some(pid.to_owned());
            }
            if line == "ready=1" {
                return Ok((self, member.context("the crowd named nobody")?));
            }
        }
        bail!("the crowd ended: it takes root")
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Its members end with it. What can't be killed has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
