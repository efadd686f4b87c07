//! The targets, and what was measured. A missed target is printed like a met one.

use super::Results;
use super::contestants::{self, BINDS_OFF, TAIL, TAIL_ALL};
use super::overhead::{Row, Table, float, interval, median};
use super::{lookup, pairs::Race};

/// A target and its result.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) limit: &'static str,
    pub(crate) figure: String,
    pub(crate) verdict: Verdict,
}

/// Result of a target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// The median is above the limit, but its confidence interval begins below.
    NotTold,
}

impl Verdict {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NotTold => "within noise",
        }
    }
}

impl From<bool> for Verdict {
    fn from(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }
}

/// The targets that this run has figures for.
pub(crate) fn of(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for table in &results.tables {
        match table.load.name {
            "fork-exit" | "spawn" => targets.extend(deaths(table, 1.5)),
            "killed" => targets.extend(reader(table, 4.0)),
            "refused" => {
                targets.extend(kernel(table, TAIL, "eBPF for a refusal that comes again", 600.0));
            }
            "threads" => targets.extend(kernel(table, TAIL, "eBPF for a thread that ends", 100.0)),
            "signals" | "handled" => {
                targets.extend(kernel(table, TAIL, "eBPF for a harmless signal", 100.0));
            }
            "connect" => targets.extend(slowdown(table, TAIL, 2.0)),
            "getppid" => targets.extend(plain(table)),
            _ => {}
        }
    }
    targets.extend(counts(results));
    targets.extend(results.races.iter().flat_map(|race| [look_up(race), pass(race)]).flatten());
    targets
}

/// `most`: microseconds of the reader a death.
fn deaths(table: &Table, most: f64) -> Vec<Target> {
    let mut targets: Vec<Target> = slowdown(table, TAIL_ALL, 4.0).into_iter().collect();
    let name = table.load.name;
    let death = kernel(table, TAIL_ALL, "eBPF for a process that dies", 700.0);
    targets.extend(death.map(|target| beside_bare(target, table)));
    targets.extend(reader(table, most));
    let Some(row) = table.row(TAIL_ALL) else { return targets };
    if let Some(counted) = row.counted {
        targets.push(Target {
            what: format!("{name}: deaths reported"),
            limit: "all",
            figure: format!("{} of {}", counted.told, counted.truth),
            verdict: (counted.told == counted.truth).into(),
        });
    }
    targets
}

/// Processor time of the reader for a death, whose line it writes.
fn reader(table: &Table, most: f64) -> Option<Target> {
    let own = median(&table.row(TAIL_ALL)?.tool_ns) / 1000.0;
    Some(Target {
        what: format!("{}: the reader's time for a death", table.load.name),
        limit: if most > 2.0 { "4 us" } else { "1.5 us" },
        figure: format!("{own:.1} us"),
        verdict: (own <= most).into(),
    })
}

/// In percent, beside `sleep` as the tool.
fn slowdown(table: &Table, tool: &str, limit: f64) -> Option<Target> {
    let [least, more, most] = beyond(table.row(tool)?).map(|ratio| (ratio - 1.0) * 100.0);
    Some(Target {
        what: format!("{}: slowdown by {tool}, beside `sleep`", table.load.name),
        limit: if limit > 2.5 { "4 %" } else { "2 %" },
        figure: format!("{more:+.1} % ({least:+.1} to {most:+.1})"),
        verdict: told(least, more, limit),
    })
}

/// The median of the ratios to `sleep`, with its confidence interval.
fn beyond(row: &Row) -> [f64; 3] {
    let (least, most) = interval(&row.beyond);
    [least, median(&row.beyond), most]
}

fn told(least: f64, figure: f64, limit: f64) -> Verdict {
    if figure > limit && least <= limit { Verdict::NotTold } else { (figure <= limit).into() }
}

fn kernel(table: &Table, tool: &str, what: &str, limit: f64) -> Option<Target> {
    let ns = table.row(tool)?.kernel_ns()?;
    Some(Target {
        what: format!("{}: {what}", table.load.name),
        limit: match limit {
            650.0.. => "700 ns",
            500.0.. => "600 ns",
            _ => "100 ns",
        },
        figure: format!("{ns:.0} ns"),
        verdict: (ns <= limit).into(),
    })
}

/// Adds the cost of a minimal record, which depends on the machine's speed in the same way.
fn beside_bare(mut target: Target, table: &Table) -> Target {
    let floor = table.load.hook.and_then(|hook| table.row(&contestants::bare(hook))?.kernel_ns());
    if let Some(ns) = floor {
        target.figure += &format!("; a bare record {ns:.0} ns");
    }
    target
}

/// Two workers halve the time of an operation, and a system call runs on one processor.
fn plain(table: &Table) -> Vec<Target> {
    let added = |row: &Row| beyond(row).map(|ratio| (ratio - 1.0) * table.alone_ns * 2.0);
    let floor = table.load.hook.and_then(|hook| table.row(&contestants::empty(hook)));
    let tax = floor.map_or(f64::NAN, |row| added(row)[1]);
    let target = |(tool, limit, ns, beside): (&str, &'static str, f64, String)| {
        let [least, more, most] = added(table.row(tool)?);
        Some(Target {
            what: format!("getppid: added to a call by {tool}, beside `sleep`"),
            limit,
            figure: format!("{more:+.0} ns ({least:+.0} to {most:+.0}){beside}"),
            verdict: told(least, more, ns),
        })
    };
    let one = format!("; an empty program {tax:+.0} ns");
    let wanted =
        [(TAIL, "one tracepoint's tax", tax, one), (BINDS_OFF, "none", 0.0, String::new())];
    wanted.into_iter().filter_map(target).collect()
}

fn counts(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some(frozen) = &results.frozen {
        let (kept, lost) = (frozen.said.deaths, frozen.said.lost);
        targets.push(Target {
            what: "reader stopped through 40,000 deaths: kept".to_owned(),
            limit: "14,000",
            figure: kept.to_string(),
            verdict: (kept >= 14_000).into(),
        });
        targets.push(Target {
            what: "the same: kept and counted as lost, of all deaths".to_owned(),
            limit: "all",
            figure: format!("{} of {}", kept + lost, frozen.truth),
            // Losses include deaths of other processes on this machine.
            verdict: (kept + lost >= frozen.truth
                && kept + lost <= frozen.truth + frozen.truth / 100)
                .into(),
        });
    }
    if let Some(storms) = &results.storms {
        let kept = |what: &str, (kept, all): (u64, u64)| Target {
            what: format!("beside a storm of another user, reader stopped: {what} kept"),
            limit: "all",
            figure: format!("{kept} of {all}"),
            verdict: (kept == all).into(),
        };
        targets.push(kept("deaths", storms.deaths));
        targets.push(kept("refusals", storms.refusals));
        let (events, sum, all) = storms.again;
        targets.push(Target {
            what: "refusals of one process again and again: told or counted".to_owned(),
            limit: "all",
            figure: format!(
                "{sum} of {all} in {events} events, {} ms of the reader",
                storms.reader_ms
            ),
            verdict: (sum == all).into(),
        });
    }
    for rest in &results.rest {
        let (mib, limit) =
            if rest.tool.contains("observer serve") { (16, "16 MiB") } else { (12, "12 MiB") };
        targets.push(Target {
            what: format!("{}: resident at rest", rest.tool),
            limit,
            figure: format!(
                "{:.1} MiB ({:.1} of it rings)",
                float(rest.resident_kib) / 1024.0,
                float(rest.rings_kib) / 1024.0
            ),
            verdict: (rest.resident_kib <= mib << 10).into(),
        });
        targets.push(Target {
            what: format!("{}: maps in the kernel", rest.tool),
            limit: "4 MiB",
            figure: format!("{:.1} MiB", float(rest.map_bytes) / 1_048_576.0),
            verdict: (rest.map_bytes <= 4 << 20).into(),
        });
        targets.push(Target {
            what: format!("{}: wake-ups in 10 s at rest", rest.tool),
            limit: "none but for events",
            figure: format!("{}, with {} events", rest.wakeups, rest.events),
            // The wait for more, the drain, and a scan by another thread: a few wake-ups for each event.
            verdict: (rest.wakeups <= 8 * rest.events as u64).into(),
        });
    }
    targets
}

fn look_up(race: &Race) -> Option<Target> {
    let ours = race.contestants.iter().find(|one| one.name.starts_with("observer ports"))?;
    let theirs = race.contestants.iter().find(|one| one.name == "ss -tlnp")?;
    let part = ours.median_ms / theirs.median_ms;
    Some(Target {
        what: format!("{}: `{}` beside `ss -tlnp`", race.title, ours.name),
        limit: "a fifth",
        figure: format!("{part:.2} ({:.0} ms to {:.0} ms)", ours.median_ms, theirs.median_ms),
        verdict: (part <= 0.2).into(),
    })
}

/// A scan of 50,000 sockets.
fn pass(race: &Race) -> Option<Target> {
    let ours = race.contestants.iter().find(|one| one.name == lookup::PASS)?;
    let theirs = race.contestants.iter().find(|one| one.name == "ss -tlnp")?;
    let times = theirs.median_ms / ours.median_ms;
    race.title.contains(lookup::LARGE).then(|| Target {
        what: format!("{}: the scan alone beside `ss -tlnp`", race.title),
        limit: "60 ms, a tenth",
        figure: format!("{:.0} ms, {:.2}", ours.median_ms, 1.0 / times),
        verdict: (ours.median_ms < 60.0 && times >= 10.0).into(),
    })
}
