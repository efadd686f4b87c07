//! Loads with and without a tool, A B A B … A: each run with a tool is compared with the runs before and after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::contestants;
use super::load::{self, LOADS, Load, Taken};
use super::programs::{self, Cost, Counting};
use super::tool::Tool;
use crate::talk;

/// The two binaries.
pub(crate) struct Binaries {
    pub(crate) observer: PathBuf,
    pub(crate) workload: PathBuf,
}

/// One load, with all tools.
pub(crate) struct Table {
    pub(crate) load: &'static Load,
    /// Nanoseconds an operation takes with no tool: the median, over all workers.
    pub(crate) alone_ns: f64,
    pub(crate) rows: Vec<Row>,
    /// Tools that failed, and why.
    pub(crate) left_out: Vec<String>,
}

/// One tool beside one load.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) tool: String,
    /// Time with the tool to time without, sorted.
    pub(crate) ratios: Vec<f64>,
    /// Each of them to that of `sleep` in the same round, sorted.
    pub(crate) beyond: Vec<f64>,
    /// The tool's own time on a processor for each operation, sorted.
    pub(crate) tool_ns: Vec<f64>,
    /// For tools that report every death: how many died, were reported, and were counted as lost.
    pub(crate) counted: Option<Counted>,
    /// From a separate run, in which the kernel counted.
    pub(crate) costs: Vec<Cost>,
    pub(crate) costs_operations: u64,
}

/// Deaths, or refused binds, in all rounds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) truth: u64,
    pub(crate) told: u64,
    pub(crate) lost: u64,
}

impl Row {
    /// In the kernel, for each operation.
    pub(crate) fn kernel_ns(&self) -> Option<f64> {
        let total: u64 = self.costs.iter().map(|cost| cost.nanoseconds).sum();
        (!self.costs.is_empty()).then(|| float(total) / float(self.costs_operations))
    }
}

impl Table {
    /// The row of that tool.
    pub(crate) fn row(&self, tool: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.tool == tool)
    }
}

/// The median.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The 95 % confidence interval of the median, by the sign test: no assumption about the distribution.
pub(crate) fn interval(sorted: &[f64]) -> (f64, f64) {
    let number = float(sorted.len() as u64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the list"
    )]
    let outside = ((number - 1.96 * number.sqrt()) / 2.0).floor().max(1.0) as usize;
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    (at(outside - 1), at(sorted.len().wrapping_sub(outside)))
}

/// Every load, or the one that is asked for.
pub(crate) fn run(binaries: &Binaries, rounds: usize, only: Option<&str>) -> Result<Vec<Table>> {
    let wanted = LOADS.iter().filter(|load| only.is_none_or(|name| name == load.name));
    let Binaries { observer, workload } = binaries;
    let mut tables: Vec<Table> = wanted
        .map(|load| measure(load, contestants::of(load, observer, workload), workload, rounds))
        .collect::<Result<_>>()?;
    for table in &mut tables {
        let tools = contestants::last(table.load, workload);
        if !tools.is_empty() {
            let last = measure(table.load, tools, workload, rounds)?;
            table.rows.extend(last.rows);
            table.left_out.extend(last.left_out);
        }
    }
    Ok(tables)
}

fn measure(
    load: &'static Load,
    mut tools: Vec<Tool>,
    workload: &Path,
    rounds: usize,
) -> Result<Table> {
    talk::step(&format!("{}: {}", load.name, load.operation));
    let mut rows: Vec<Row> = tools.iter().map(|tool| row(tool, load)).collect();
    let alone = || load::run(workload, load.name, load.number).map(nanoseconds);
    alone()?;
    let mut before = alone()?;
    let mut all_alone = vec![before];
    let mut left_out = Vec::new();
    for round in 0..rounds * load.thoroughness() {
        let mut n = 0;
        while n < tools.len() {
            if round >= rounds && !contestants::is_compared(&tools[n].name, load) {
                n += 1;
                continue;
            }
            if let Err(why) = beside(&tools[n], load, workload, &mut rows[n], false) {
                // Other tools may fail on this kernel; observer must not.
                if tools[n].name.contains("observer") {
                    return Err(why);
                }
                let text = format!("{} beside {}: {why:#}", tools[n].name, load.name);
                talk::note(&format!("left out: {text}"));
                left_out.push(text);
                tools.remove(n);
                rows.remove(n);
                continue;
            }
            let after = alone()?;
            all_alone.push(after);
            if let Some(with) = rows[n].ratios.last_mut() {
                *with /= (before * after).sqrt();
            }
            before = after;
            n += 1;
        }
    }
    let counting = Counting::start()?;
    for (tool, row) in tools.iter().zip(&mut rows) {
        if tool.name != contestants::NULL {
            beside(tool, load, workload, row, true)?;
        }
    }
    drop(counting);
    let null = rows.iter().find(|row| row.tool == contestants::NULL);
    let null = null.map(|row| row.ratios.clone()).unwrap_or_default();
    for row in &mut rows {
        row.beyond = row.ratios.iter().zip(&null).map(|(with, null)| with / null).collect();
        row.beyond.sort_by(f64::total_cmp);
        row.ratios.sort_by(f64::total_cmp);
        row.tool_ns.sort_by(f64::total_cmp);
    }
    all_alone.sort_by(f64::total_cmp);
    let table = Table { load, alone_ns: median(&all_alone), rows, left_out };
    super::document::say(&table);
    Ok(table)
}

fn row(tool: &Tool, load: &Load) -> Row {
    let counted = (tool.tells_all && load.deadly)
        || (load.name == "refused" && tool.name == contestants::TAIL);
    Row { tool: tool.name.clone(), counted: counted.then(Counted::default), ..Row::default() }
}

/// One run beside the tool: timed, or with the kernel counting.
fn beside(tool: &Tool, load: &Load, workload: &Path, row: &mut Row, counting: bool) -> Result<()> {
    let running = tool.start()?;
    let programs = if counting { programs::of(running.pid()) } else { BTreeMap::default() };
    let cpu = super::sys::cpu_ns(running.pid());
    let taken = load::run(workload, load.name, load.number)?;
    running.settle();
    let cpu = super::sys::cpu_ns(running.pid()) - cpu;
    if counting {
        row.costs = programs::since(&programs, programs::of(running.pid()));
        row.costs_operations = taken.operations;
    } else {
        row.tool_ns.push(float(cpu) / float(taken.operations));
        row.ratios.push(nanoseconds(taken));
    }
    let said = running.stop().context("its output")?;
    if let Some(counted) = row.counted.as_mut().filter(|_| !counting) {
        let of_binds = load.name == "refused";
        counted.truth += if of_binds { taken.operations } else { taken.deaths };
        counted.told += if of_binds { said.refused } else { said.deaths };
        counted.lost += said.lost;
    }
    Ok(())
}

/// For each operation.
fn nanoseconds(taken: Taken) -> f64 {
    float(taken.nanoseconds) / float(taken.operations)
}

/// Nothing that is counted here comes near the limit of exact numbers.
#[expect(clippy::cast_precision_loss, reason = "far below 2 to the 53rd")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::interval;

    /// As tables of the binomial distribution have them, or one place further out.
    #[test]
    fn confidence_interval_of_a_median() {
        for (rounds, least, most) in [(1, 1, 1), (7, 1, 7), (10, 1, 10), (21, 6, 16), (100, 40, 61)]
        {
            let sorted: Vec<f64> = (1..=rounds).map(f64::from).collect();
            assert_eq!(interval(&sorted), (f64::from(least), f64::from(most)), "{rounds}");
        }
        assert!(interval(&[]).0.is_nan() && interval(&[]).1.is_nan());
    }
}
