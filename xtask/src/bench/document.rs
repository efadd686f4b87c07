//! Prints the figures as they come, and writes docs/generated/overhead.md at the end.

use std::fs;

use anyhow::Result;

use super::Results;
use super::counts::{Frozen, Rest};
use super::overhead::{Counted, Row, Table, float, median};
use super::pairs::Race;
use super::targets::{self, Verdict};
use crate::{talk, workspace};

/// One load on the terminal.
pub(crate) fn say(table: &Table) {
    talk::note(&format!("{:.0} ns each without a tool", table.alone_ns));
    for row in &table.rows {
        let [slower, spread, own, kernel, told] = cells(row);
        talk::note(&format!(
            "{:<44} {slower:>8} ({spread}) tool {own} ns, kernel {kernel} ns {told}",
            row.tool
        ));
    }
}

/// Slowdown, its spread, the tool's time, the eBPF programs' time, and how many were reported.
fn cells(row: &Row) -> [String; 5] {
    let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
    let spread = match (row.ratios.first(), row.ratios.last()) {
        (Some(least), Some(most)) => format!("{} to {}", percent(*least), percent(*most)),
        _ => String::new(),
    };
    [
        percent(median(&row.ratios)),
        spread,
        format!("{:.0}", median(&row.tool_ns)),
        row.kernel_ns().map_or_else(|| "–".to_owned(), |ns| format!("{ns:.0}")),
        row.counted.map_or_else(String::new, told),
    ]
}

fn told(counted: Counted) -> String {
    let Counted { truth, told, lost } = counted;
    if told == truth {
        format!("all of {truth}")
    } else {
        format!("{told} of {truth}, {lost} counted as lost")
    }
}

/// Writes docs/generated/overhead.md.
pub(crate) fn write(results: &Results) -> Result<()> {
    let path = workspace::root().join("docs/generated/overhead.md");
    fs::write(&path, text(results))?;
    talk::step(&format!("written: {}", path.display()));
    Ok(())
}

fn text(results: &Results) -> String {
    let mut text = format!(
        "# What observer costs\n\n\
         `cargo xtask bench` measured this on {} in one run and wrote this page; `cargo xtask bench --peers` installs the other tools \
         first. {} pairs each, three times as many where a slowdown has a target. {}. Load average {:.1} at the start and {:.1} at the end: other \
         work on the machine affects all tools alike, and shows in the spread.\n\n",
        results.date, results.rounds, results.machine, results.load.0, results.load.1
    );
    if results.rounds < PAIRS {
        text += FEW;
    }
    text += "## Targets\n\n| what | target | measured | |\n| --- | --- | --- | --- |\n";
    for target in targets::of(results) {
        let words = target.verdict.words();
        let words =
            if target.verdict == Verdict::Met { words.to_owned() } else { format!("**{words}**") };
        text += &format!("| {} | {} | {} | {words} |\n", target.what, target.limit, target.figure);
    }
    text += CHANCE;
    text += LOADS;
    results.tables.iter().for_each(|table| text += &load(table));
    text += PROGRAMS;
    results.tables.iter().for_each(|table| text += &programs(table));
    text += &counts(results.frozen.as_ref(), &results.rest);
    results.races.iter().for_each(|found| text += &race(found));
    text += NOT_MEASURED;
    if !results.left_out.is_empty() {
        text += &format!("\n## Left out\n\n{}.\n", results.left_out.join("; "));
    }
    text
}

/// Rounds that a ratio needs before it may be quoted.
const PAIRS: usize = 7;
const FEW: &str = "**Fewer than seven pairs: don't quote the ratios.** Counts and the kernel's times are valid.\n\n";

const CHANCE: &str = "\nIn parentheses after a slowdown: the 95 % confidence interval of the median over all rounds. \
    Where it begins below the target and the median is above, this run can't distinguish the tool from noise.\n";

const LOADS: &str = "\n## Beside loads\n\n\
    Two workers, at least as many as this machine has processors, do nothing but the operation, so that a tool's processor time \
    shows in the slowdown. Each run with a tool is compared with the geometric mean of the run before it and the run after \
    it. What `sleep` \"costs\" is the noise. *Tool*: the tool's own processor time for each operation. *Kernel*: run time of \
    its eBPF programs for each operation, in a separate run in which the kernel counts; counting adds some 50 ns a run, as the \
    empty program shows. The bare record is 64 bytes of ids, time and name, in a ring whose reader is never woken: the least \
    that reporting a death costs. Output goes to a file in memory.\n";

const NOT_MEASURED: &str = "\n## Not measured here\n\n\
    Tools that need function tracing or kernel headers, where the kernel has neither. auditd itself: *audit* above is the \
    kernel's half, with a rule for exit_group(2), exit(2) and kill(2), and a reader that writes nothing. It is measured last.\n";

const PROGRAMS: &str = "\n## Programs of observer\n\n\
    | load | program | runs | mean ns |\n| --- | --- | --- | --- |\n";

fn load(table: &Table) -> String {
    let mut text = format!(
        "\n### {}: {}\n\n{:.0} ns each without a tool.\n\n\
         | beside | slowdown | spread | tool ns | kernel ns | reported |\n| --- | --- | --- | --- | --- | --- |\n",
        table.load.name, table.load.operation, table.alone_ns
    );
    for row in &table.rows {
        text += &format!("| {} | {} |\n", row.tool, cells(row).join(" | "));
    }
    text
}

fn programs(table: &Table) -> String {
    let ours = super::contestants::TAIL_ALL;
    let row = table.row(ours).or_else(|| table.row(super::contestants::TAIL));
    let costs = row.map(|row| row.costs.as_slice()).unwrap_or_default();
    let line = |cost: &super::programs::Cost| {
        let mean = float(cost.nanoseconds) / float(cost.runs);
        format!("| {} | {} | {} | {mean:.0} |\n", table.load.name, cost.name, cost.runs)
    };
    costs.iter().map(line).collect()
}

fn counts(frozen: Option<&Frozen>, rest: &[Rest]) -> String {
    let mut text = String::new();
    if let Some(Frozen { truth, said, rate }) = frozen {
        text += &format!(
            "\n## A reader that is stopped\n\n\
             SIGSTOP, {truth} deaths at {rate} a second, SIGCONT: {} reported, {} counted as lost, {} in all.\n",
            said.deaths,
            said.lost,
            said.deaths + said.lost
        );
    }
    text += "\n## At rest\n\n\
         Measured for ten seconds, from five seconds after the start. The rings are kernel memory that is mapped; both figures \
         contain them. Other deaths on the machine are events and cause wake-ups.\n\n\
         | | resident KiB | of it rings | without | peak | maps KiB | wake-ups in 10 s | processor µs | events |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for one in rest {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            one.tool,
            one.resident_kib,
            one.rings_kib,
            one.resident_kib.saturating_sub(one.rings_kib),
            one.peak_kib,
            one.map_bytes >> 10,
            one.wakeups,
            one.cpu_us,
            one.events
        );
    }
    text
}

fn race(race: &Race) -> String {
    let mut text = format!(
        "\n## {}\n\nWhole processes, milliseconds.\n\n| | median | spread | ratio |\n| --- | --- | --- | --- |\n",
        race.title
    );
    for one in &race.contestants {
        text += &format!(
            "| `{}` | {:.1} | {:.1} to {:.1} | {:.1} |\n",
            one.name, one.median_ms, one.least_ms, one.most_ms, one.ratio
        );
    }
    text
}
