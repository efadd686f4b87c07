//! `observer status`: the service's own health.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::{
    cli::{Settings, StatusArgs, StatusFormat},
    error::status,
    model::human::{count, size, span},
    sanitize::sanitize,
    service::{client, metrics, protocol::Request, status::ServiceStatus},
    stdout,
};

/// Asks the service.
pub fn run(args: &StatusArgs, settings: &Settings) -> Result<u8> {
    let socket = &settings.socket;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(async {
        match client::ask(socket, &Request::Status).await? {
            Some(mut answer) => answer.only_line().await,
            None => bail!(
                "no service listens on {}: `systemctl start observer`, or name its socket with --socket",
                socket.display()
            ),
        }
    })?;
    let status: ServiceStatus = serde_json::from_str(&line)?;
    let format = if args.json { StatusFormat::Json } else { args.format };
    stdout::print(&match format {
        StatusFormat::Text => text(&status),
        StatusFormat::Json => line + "\n",
        StatusFormat::Prometheus => metrics::text(&status)?,
    })?;
    Ok(status::DONE)
}

fn text(status: &ServiceStatus) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}  {}", sanitize(value));
    };
    let since = jiff::Timestamp::now().duration_since(status.counts.since.0).as_secs_f64();
    row(
        "service",
        &format!("observer {}, pid {}, for {}", status.version, status.pid, span(since)),
    );
    let events: Vec<String> =
        status.counts.events.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
    row("events", &events.join(", "));
    let summed: Vec<String> =
        status.counts.summed.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
    if !summed.is_empty() {
        row("summed", &format!("{}: floods, counted and not stored", summed.join(", ")));
    }
    let lost: Vec<String> =
        status.counts.lost.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    row("lost", &if lost.is_empty() { "none".to_owned() } else { lost.join(", ") });
    let missed = match status.clients.missed {
        0 => String::new(),
        n => format!("; {} missed by clients that did not read", count(n, "event")),
    };
    row("clients", &format!("{} now{missed}", status.clients.now));
    let store = &status.store;
    let free = store.free_bytes.map(|free| format!(", {} free", size(free))).unwrap_or_default();
    let disk = match (store.segments, store.used_bytes) {
        (Some(segments), Some(used)) => {
            format!("{}, {}{free}", count(segments as u64, "segment"), size(used))
        }
        _ => "the disk does not answer".to_owned(),
    };
    row("store", &format!("{}: {disk}", store.dir));
    match (&store.state.stopped, &store.state.segment) {
        (Some(why), _) => {
            let lost = count(store.state.unrecorded, "event");
            row("", &format!("NOT RECORDING, {lost} so far: {why}"));
        }
        (None, Some(segment)) => row("", &format!("writes {segment}, up to seq {}", status.seq)),
        (None, None) => {}
    }
    if let Some(chain) = &store.state.chain {
        row("last seal", chain);
    }
    let scans = &status.scans;
    if scans.failed > 0 || scans.hanging > 0 {
        let failed = count(scans.failed, "scan");
        let careful = match (scans.hanging, scans.careful) {
            (0, _) => String::new(),
            (hanging, false) => format!(", {hanging} still hang"),
            (hanging, true) => format!(
                ", {hanging} still hang: paths and arguments of living processes are not looked at any more"
            ),
        };
        row("scans", &format!("{failed} failed or took too long{careful}"));
    }
    if let Some(why) = &status.metrics_refused {
        row("metrics", &format!("NOT OFFERED, tried again every few seconds: {why}"));
    }
    let own = &status.own;
    let memory = format!("{} resident (peak {})", size(own.rss_bytes), size(own.peak_rss_bytes));
    row("itself", &format!("{memory}, {:.2} s of processor time", own.cpu_seconds));
    for program in &status.programs {
        let cost = match (program.runs, program.nanoseconds) {
            (Some(runs), Some(ns)) => format!("{runs} runs, {} ns each", ns / runs.max(1)),
            _ => "not counted: sysctl kernel.bpf_stats_enabled=1 turns that on".to_owned(),
        };
        row("program", &format!("{:<14} {:<30} {cost}", program.program, program.hook));
    }
    for hook in &status.refused {
        row("without", &format!("{:<14} {}", hook.program, hook.hook));
    }
    text
}
