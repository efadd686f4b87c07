//! Finding events in the store: `observer log` beside `jq` and `rg`.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::pairs::{Contestant, Race, race};
use crate::build::{self, Build};
use crate::{process, talk, workspace};

/// Size of the store: more than the caches of any processor.
const BYTES: u64 = 512 << 20;

pub(crate) fn run(rounds: usize) -> Result<Race> {
    let observer = build::observer(Build::Release)?;
    let dir = workspace::target().join("bench-log");
    fs::create_dir_all(&dir)?;
    let file = dir.join("observer-000001-20261122T000000Z.jsonl");
    let bytes = write(&file)?;
    let log = move |words: &'static [&'static str]| {
        let (observer, dir) = (observer.clone(), dir.clone());
        move || {
            let mut command = Command::new(&observer);
            command.arg("log").arg("--json").arg("--dir").arg(&dir).args(words);
            command
        }
    };
    let mut contestants = vec![
        Contestant::new("observer log --kind oom (one in 1,000)", log(&["--kind", "oom"])),
        Contestant::new("observer log --unit shop (one in 8)", log(&["--unit", "shop"])),
    ];
    for (program, words) in
        [("rg", &["--count", "\"kind\":\"oom\""][..]), ("jq", &["-c", "select(.kind == \"oom\")"])]
    {
        if process::find(program).is_none() {
            talk::note(&format!("left out: {program} is not installed"));
            continue;
        }
        let file = file.clone();
        contestants.push(Contestant::new(&format!("{program} for the same kind"), move || {
            let mut command = Command::new(program);
            command.args(words).arg(&file);
            command
        }));
    }
    let race = race(&format!("{} MB of events", bytes / 1_000_000), &contestants, rounds)?;
    fs::remove_dir_all(workspace::target().join("bench-log"))?;
    Ok(race)
}

/// Writes deaths as on a busy host; returns their length.
fn write(path: &Path) -> Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut bytes = 0;
    let mut seq = 0u64;
    while bytes < BYTES {
        seq += 1;
        let text = event(seq);
        bytes += text.len() as u64;
        file.write_all(text.as_bytes())?;
    }
    file.flush()?;
    Ok(bytes)
}

fn event(seq: u64) -> String {
    let unit = if seq.is_multiple_of(8) { "shop.service" } else { "cron.service" };
    let time = format!(
        "2026-11-22T{:02}:{:02}:{:02}.{:09}Z",
        seq / 360_000 % 24,
        seq / 6000 % 60,
        seq / 100 % 60,
        seq
    );
    let process = format!(
        r#"{{"pid":{pid},"start_time":"2026-11-22T00:00:00.000000000Z","ppid":1,"uid":33,"user":"www-data","comm":"node","exe":"/usr/bin/node","args":["node","/srv/shop/worker.js","--port","8080"],"cgroup":"/system.slice/{unit}","unit":"{unit}","netns":4026531840,"parent":{{"pid":1,"comm":"systemd"}}}}"#,
        pid = 1000 + seq % 30_000,
    );
    let body = if seq.is_multiple_of(1000) {
        format!(
            r#""kind":"oom","victim":{process},"trigger":{process},"scope":"cgroup","limit_bytes":536870912,"memory":{{"total_vm_bytes":1,"anon_rss_bytes":1,"file_rss_bytes":1,"shmem_rss_bytes":1,"page_table_bytes":1}},"oom_score_adj":0,"summary":"a limit was reached""#
        )
    } else {
        format!(
            r#""kind":"exit","process":{process},"status":{{"code":1,"shell_status":1}},"lifetime_seconds":1.5,"peak_rss_bytes":41943040,"cause":{{"type":"exit_code","summary":"ended by itself with exit code 1","evidence":["its wait status is 256"],"confidence":"certain"}}"#
        )
    };
    format!(
        r#"{{"schema":1,"seq":{seq},"time":"{time}","boot_id":"00000000-0000-0000-0000-000000000000","host":"bench",{body}}}"#
    ) + "\n"
}
