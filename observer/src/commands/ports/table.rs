//! `observer ports` for people.

use std::{borrow::Cow, fmt::Write as _};

use crate::{
    enrich::unheld,
    model::human,
    sanitize::sanitize,
    service::port_list::{PortHolder, PortLine},
};

/// One row a holder; a socket's further holders stand under the first.
pub(super) fn table(lines: &[PortLine]) -> String {
    let own = unheld::netns_of(std::process::id()).unwrap_or(0);
    let mut rows =
        vec![["SOCKET", "STATE", "PID", "UNIT", "USER", "AGE", "COMMAND"].map(str::to_owned)];
    for line in lines {
        if line.holders.is_empty() {
            rows.push(no_process(name(line, own), state(line)));
        }
        for (n, holder) in line.holders.iter().enumerate() {
            let (name, state) = if n == 0 {
                (name(line, own), state(line))
            } else {
                (String::new(), String::new())
            };
            rows.push(row(name, state, holder));
        }
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(textwrap::core::display_width(cell));
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let pad = width.saturating_sub(textwrap::core::display_width(cell));
            let _ = write!(line, "{cell}{}  ", " ".repeat(pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if lines.is_empty() { "nobody holds it\n".to_owned() } else { text }
}

fn name(line: &PortLine, own: u32) -> String {
    let name = sanitize(&line.socket.name()).into_owned();
    match line.socket.netns {
        Some(netns) if netns != own => format!("{name} (netns {netns})"),
        _ => name,
    }
}

fn state(line: &PortLine) -> String {
    let state = line.socket.state.and_then(|state| serde_json::to_value(state).ok());
    state.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Longest command line in the table.
const COMMAND: usize = 40;

fn row(name: String, state: String, holder: &PortHolder) -> [String; 7] {
    let process = &holder.process;
    let args = process.args.as_ref().map(|args| args.join(" "));
    let command = args.as_deref().or(process.comm.as_deref()).unwrap_or_default();
    let command = sanitize(command).into_owned();
    let command = match command.char_indices().nth(COMMAND) {
        Some((at, _)) => format!("{}…", &command[..at]),
        None => command,
    };
    let age = process
        .start_time
        .map(|start| human::span(jiff::Timestamp::now().duration_since(start.0).as_secs_f64()));
    let unit = process.whole_unit().or(process.container.as_deref().map(Cow::from));
    let unit = unit.unwrap_or(Cow::Borrowed("-"));
    [
        name,
        state,
        process.pid.to_string(),
        sanitize(&unit).into_owned(),
        process.user_or_uid().unwrap_or_default(),
        age.unwrap_or_default(),
        command,
    ]
}

/// The row of a socket of the kernel's own.
fn no_process(name: String, state: String) -> [String; 7] {
    let none = || "-".to_owned();
    [
        name,
        state,
        none(),
        none(),
        none(),
        none(),
        "(no process: the kernel itself, or on its way to one)".to_owned(),
    ]
}
