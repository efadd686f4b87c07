//! Who holds a port: `observer ports` beside `ss`, in the network namespace of 50,000 listeners.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::pairs::{Contestant, race};
use crate::build::{self, Build};

const PROCESSES: &str = "2000";
const SOCKETS: &str = "25";

pub(crate) fn run(rounds: usize) -> Result<()> {
    let observer = build::observer(Build::Release)?;
    let workload = build::workload(Build::Release)?;
    let mut crowd = Command::new(workload);
    crowd.args(["in-netns", "crowd", PROCESSES, SOCKETS]).stdout(Stdio::piped());
    let crowd = Crowd(crowd.spawn().context("the crowd could not be started")?);
    let (crowd, pid) = crowd.ready()?;
    let there = move |program: &str, words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &pid, program]).args(words);
        command
    };
    let observer = observer.to_string_lossy().into_owned();
    let (own, ss, one) = (there.clone(), there.clone(), there);
    let title = format!("one port, {PROCESSES} processes with {SOCKETS} listeners each");
    race(
        &title,
        &[
            Contestant::new("observer ports 9", move || {
                own(&observer, &["ports", "9", "--socket", "/nonexistent/observer.sock"])
            }),
            Contestant::new("ss -tlnp", move || ss("ss", &["-tlnp"])),
            Contestant::new("ss -tlnp 'sport = :9'", move || one("ss", &["-tlnp", "sport = :9"])),
        ],
        rounds,
    )?;
    drop(crowd);
    Ok(())
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
