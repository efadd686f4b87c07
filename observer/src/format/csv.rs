//! Events as CSV (RFC 4180): one line each, the same columns for all kinds, for spreadsheets.

use anyhow::Result;

use super::parts::{Parts, word};
use crate::model::{Event, Process, Socket};

/// The columns.
const COLUMNS: [&str; 15] = [
    "time",
    "seq",
    "kind",
    "host",
    "pid",
    "comm",
    "user",
    "unit",
    "container",
    "args",
    "protocol",
    "address",
    "port",
    "cause",
    "summary",
];

/// The first line.
pub fn header() -> Result<String> {
    line(&COLUMNS.map(str::to_owned))
}

/// An event's line.
pub fn event(event: &Event) -> Result<String> {
    let Parts { process, socket, cause, summary } = Parts::of(&event.body);
    let of_process =
        |field: fn(&Process) -> Option<String>| process.and_then(field).unwrap_or_default();
    let of_socket =
        |field: fn(&Socket) -> Option<String>| socket.and_then(field).unwrap_or_default();
    line(&[
        event.time.to_string(),
        event.seq.map(|seq| seq.to_string()).unwrap_or_default(),
        event.body.kind().name().to_owned(),
        event.host.to_string(),
        of_process(|p| Some(p.pid.to_string())),
        of_process(|p| p.comm.as_deref().map(str::to_owned)),
        of_process(Process::user_or_uid),
        of_process(|p| p.unit.as_deref().map(str::to_owned)),
        of_process(|p| p.container.as_deref().map(str::to_owned)),
        of_process(|p| p.args.as_ref().map(|args| args.join(" "))),
        of_socket(|s| Some(word(&s.protocol))),
        of_socket(|s| s.address.map(|a| a.to_string()).or(s.path.clone())),
        of_socket(|s| s.port.map(|port| port.to_string())),
        cause.map(|cause| word(&cause.cause_type)).unwrap_or_default(),
        summary,
    ])
}

fn line(cells: &[String; COLUMNS.len()]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells.iter().map(|cell| harmless(cell)))?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A cell that a process chose must not become a formula in somebody's spreadsheet, nor end a line early for simple readers.
fn harmless(cell: &str) -> String {
    let cell: String = cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn no_formula_and_no_second_line() {
        assert_eq!(harmless("=cmd()"), "'=cmd()");
        assert_eq!(harmless("a\nb"), "a\u{fffd}b");
        assert_eq!(harmless("node"), "node");
    }
}
