//! Endurance: a fork bomb, then storms of every kind against the service for so many minutes, and between them what a user
//! without rights may try, with the service stopped in the middle. At the end every missing event must be counted as lost, no
//! death of root's beside what was tried may be missing, and memory must not have grown.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::counts::status;
use super::hostile::Hostile;
use super::overhead::Binaries;
use super::tool::{Ready, Running, Said, Tool};
use super::{load, sys};
use crate::{process, talk};

/// Repeated in this order; about half a second each.
const STORMS: [(&str, u64); 7] = [
    ("mix", 5000),
    ("fork-exit", 4000),
    ("killed", 2500),
    ("spawn", 5000),
    ("threads", 15_000),
    ("refused", 2000),
    ("connect", 15_000),
];
/// The storms are another user's: a ring that they fill loses nothing of root's.
const STORMER: [&str; 2] = ["as-user", "61010"];
/// How long the service is stopped, at most.
const FROZEN: Duration = Duration::from_mins(1);
/// Seconds of the fork bomb, and how many of its processes may live at a time.
const BOMB: (u64, &str) = (10, "256");
/// KiB that memory may grow by after the first tenth: by then the bounded tables of incidents and ports are full. Memory
/// that grows while the service is stopped is given back.
const GROWTH_KIB: u64 = 8 << 10;

/// KiB that memory may reach at any time.
const PEAK_KIB: u64 = 64 << 10;

/// Fails with the first check that does not hold.
pub(crate) fn run(binaries: &Binaries, minutes: u64) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("observer-soak-{}", std::process::id()));
    let outcome = bomb(binaries, &dir.join("bomb"))
        .and_then(|()| storms(binaries, &dir.join("storms"), Duration::from_secs(minutes * 60)));
    if outcome.is_ok() {
        fs::remove_dir_all(&dir)?;
    } else {
        talk::note(&format!("the store is left in {}", dir.display()));
    }
    outcome
}

/// A service that records all deaths, in its own folder.
fn serve(binaries: &Binaries, dir: &Path) -> Result<Running> {
    fs::create_dir_all(dir.join("record"))?;
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (socket, record, config) = (path("socket"), path("record"), path("observer.toml"));
    // Large enough that no event is removed before it is counted; and none is summed.
    fs::write(&config, "[files]\nkeep_bytes = 17179869184\n[flood]\nlimit = \"off\"\n")?;
    let words =
        ["--socket", &socket, "--dir", &record, "--config", &config, "serve", "--exits", "all"];
    let ready = Ready::After(Duration::from_secs(2));
    Tool::new("observer serve", &binaries.observer, &words, ready).start()
}

/// A fork bomb in a cgroup that limits it: the service must survive.
fn bomb(binaries: &Binaries, dir: &Path) -> Result<()> {
    let (seconds, most) = BOMB;
    talk::step(&format!("a fork bomb of {most} processes for {seconds} s"));
    let Some(group) = pids_group() else {
        talk::note("left out: this machine has no writable pids controller");
        return Ok(());
    };
    let running = serve(binaries, dir)?;
    fs::write(group.join("pids.max"), most)?;
    let mut command = Command::new(&binaries.workload);
    command.arg("in-cgroup").arg(&group).args(["bench-bomb", &seconds.to_string()]);
    let ended = process::run(&mut command);
    running.settle();
    let resident = status(running.pid(), "VmRSS");
    running.stop()?;
    verify(binaries, dir)?;
    ended?;
    talk::note(&format!("the service survived, {resident} KiB resident, and its seals hold"));
    // Processes that still end keep the cgroup a moment longer; a leftover is empty.
    std::thread::sleep(Duration::from_millis(200));
    let _ = fs::remove_dir(group);
    Ok(())
}

fn pids_group() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
    roots.into_iter().find_map(|root| {
        let group = root.join(format!("observer-soak-{}", std::process::id()));
        fs::create_dir(&group).ok()?;
        if group.join("pids.max").exists() {
            return Some(group);
        }
        // This cgroup version has no such controller.
        let _ = fs::remove_dir(&group);
        None
    })
}

fn storms(binaries: &Binaries, dir: &Path, time: Duration) -> Result<()> {
    talk::step(&format!("storms for {} s", time.as_secs()));
    let running = serve(binaries, dir)?;
    let pid = running.pid();
    let began = Instant::now();
    let frozen = FROZEN.min(time / 5);
    let (mut deaths, mut refused) = (0, 0);
    let (mut early, mut most) = (0, 0);
    let mut stopped = false;
    let mut hostile = Hostile::new(&binaries.workload, &dir.join("hostile"))?;
    for (name, number) in STORMS.into_iter().cycle() {
        let now = began.elapsed();
        let wanted = now > time / 2 && now < time / 2 + frozen;
        if wanted != stopped {
            sys::signal(pid, if wanted { libc::SIGSTOP } else { libc::SIGCONT })?;
            stopped = wanted;
        }
        if now > time && !stopped {
            break;
        }
        let taken = load::run_after(&binaries.workload, &STORMER, name, number)?;
        deaths += taken.deaths;
        refused += if name == "refused" { taken.operations } else { 0 };
        if !stopped {
            hostile.next()?;
        }
        most = most.max(status(pid, "VmRSS"));
        if now < time / 10 {
            early = most;
        }
    }
    running.settle();
    let (resident, peak) = (status(pid, "VmRSS"), status(pid, "VmHWM"));
    running.stop()?;
    let said = recorded(binaries, dir)?;
    let tried = hostile.check(&dir.join("events"))?;
    talk::note(&format!("{tried} hostile cases: the death of root's beside each is recorded"));
    talk::note(&format!("{deaths} deaths: {} recorded", said.deaths));
    talk::note(&format!("{refused} refused binds: {} recorded", said.refused));
    talk::note(&format!("{} counted as lost", said.lost));
    talk::note(&format!(
        "resident: at most {early} KiB in the first tenth, {most} later, {resident} at the end; peak {peak}"
    ));
    verify(binaries, dir)?;
    let known = said.deaths + said.refused + said.lost;
    ensure!(said.deaths <= deaths && said.refused <= refused, "more was recorded than happened");
    ensure!(known >= deaths + refused, "{} are missing", deaths + refused - known);
    ensure!(peak <= PEAK_KIB, "memory reached {peak} KiB");
    ensure!(resident <= early + GROWTH_KIB, "memory grew from {early} to {resident} KiB");
    Ok(())
}

/// The events in the store about the loads.
fn recorded(binaries: &Binaries, dir: &Path) -> Result<Said> {
    let text = dir.join("events");
    let mut command = Command::new(&binaries.observer);
    command.arg("--dir").arg(dir.join("record")).args(["log", "--json"]);
    let file = fs::File::create(&text)?;
    let status = command.stdout(file).status().context("observer log")?;
    if !status.success() {
        bail!("`{}`: {status}", process::line(&command));
    }
    Said::read(&text)
}

fn verify(binaries: &Binaries, dir: &Path) -> Result<()> {
    let mut command = Command::new(&binaries.observer);
    process::run_quietly(command.arg("verify").arg(dir.join("record")))
}
