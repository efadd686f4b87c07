//! docs/generated/peers.md: the table, and the tools' own words where not all are right.

use anyhow::{Context as _, Result};

use super::judge::{Cell, judge};
use super::output::Output;
use super::questions::{OBSERVER, QUESTIONS, TOOLS};

const HEAD: &str = "# Peers

These tools are small, do one thing each, and are worth knowing. Here they and `observer` watched the same processes at the same
time. `cargo xtask guests --peers` generates this file in an emulated machine that runs nothing else; don't edit it. The workload,
`tests/peers/cases`, prints what happened, and xtask compares the output of each tool with it, by the same rules for all
(`xtask/src/guests/peers/judge.rs`).

";

const LEGEND: &str = "
`yes`: it reported that correctly. `in part`: correct, but something is missing. `wrong`: it reported something else. `no`: it
reported nothing of that. `–`: the tool is not made for that question. `not here`: it did not load.

";

const REDO: &str = "
## To redo it

`cargo xtask guests --peers`; with `--kernel 7.3`, on another kernel. It needs neither root nor KVM, downloads the kernel and the
tools from Debian, and prints at its end where the output of each tool is.
";

/// The text, and the questions that observer does not answer correctly.
pub(super) fn text(output: &Output, version: &str) -> Result<(String, Vec<String>)> {
    let mut text = HEAD.to_owned() + &machine(output, version)?;
    text += LEGEND;
    let names = TOOLS.iter().map(|tool| tool.name);
    text += &row(["what happens", "asked"].into_iter().chain(names));
    text += &row(["---"; TOOLS.len() + 2].into_iter());
    let (mut notes, mut not_right) = (String::new(), Vec::new());
    let mut last = "";
    for question in &QUESTIONS {
        let truth = output.truth(question.case)?;
        let (mut cells, mut quotes, mut disputed) = (Vec::new(), Vec::new(), false);
        for tool in &TOOLS {
            if !question.is_for(tool) {
                cells.push("–");
                continue;
            }
            if output.unable.contains_key(tool.file) {
                cells.push("not here");
                continue;
            }
            let said = tool.said(output, question.case, truth);
            let cell = judge(question.ask, truth, &said).with_context(|| {
                format!("the workload printed no complete truth of {}", question.case)
            })?;
            if tool.name == OBSERVER && !matches!(cell, Cell::Right(_)) {
                not_right.push(format!("{}: {}", question.happened, question.asked));
            }
            let right = matches!(cell, Cell::Right(_));
            disputed |= !right;
            let (word, quote) = match cell {
                Cell::Right(said) => ("yes", Some(said)),
                Cell::InPart(said) => ("in part", Some(said)),
                Cell::Wrong(said) => ("wrong", Some(said)),
                Cell::Silent => ("no", None),
            };
            cells.push(word);
            let mut quote = quote.map_or("nothing".to_owned(), |said| format!("`{}`", said.line));
            if !right && let Some(reason) = reason(tool.name, question.case) {
                quote += &format!(" ({reason})");
            }
            if !right || tool.name == OBSERVER {
                quotes.push(format!("  - {}: {quote}\n", tool.name));
            }
        }
        let happened = if question.happened == last { "" } else { question.happened };
        last = question.happened;
        text += &row([happened, question.asked].into_iter().chain(cells));
        if disputed {
            notes += &format!("- {}; asked: {}.\n", question.happened, question.asked);
            notes.extend(quotes);
        }
    }
    if !notes.is_empty() {
        text += "\n## Their words where not all say yes\n\n";
        text += "Tools that say yes are left out, apart from `observer`, of which the summary of the cause is shown.\n\n";
        text += &notes;
    }
    text += REDO;
    Ok((text, not_right))
}

/// Why an answer is not right, where that is known.
fn reason(tool: &str, case: &str) -> Option<&'static str> {
    Some(match (tool, case) {
        ("exitsnoop", "leader-first") => "it reports the end of the first thread",
        ("exitsnoop", "exec-from-thread") => {
            "the exec ends the first thread, and the process keeps its pid"
        }
        ("sigsnoop", "oom") => "it reports the process that ran when the kernel sent the signal",
        ("bindsnoop", _) => {
            "it reads the address from the socket, where a refused bind leaves none"
        }
        _ => return None,
    })
}

/// Kernel, versions, commands, and what each tool is for.
fn machine(output: &Output, version: &str) -> Result<String> {
    let of = |name: &str| {
        output
            .versions
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("no version of {name}"))
    };
    let mut text = format!(
        "Linux {}; {}; libbpf-tools {version} of Debian, the tools of bcc that need no headers; {}.\n\n",
        of("kernel")?,
        of("observer")?,
        of("ss")?,
    );
    text += &row(["tool", "run as", "what it is for"].into_iter());
    text += &row(["---"; 3].into_iter());
    for tool in &TOOLS {
        let command = output.commands.get(tool.file).map_or("", String::as_str);
        text += &row([tool.name, &format!("`{command}`"), tool.is_for].into_iter());
    }
    for (tool, why) in &output.unable {
        text += &format!("\n`{tool}` did not load on this kernel: {why}\n");
    }
    Ok(text)
}

fn row<'cell>(cells: impl Iterator<Item = &'cell str>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}
