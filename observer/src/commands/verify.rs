//! `observer verify`: checks the seals of the record.

use std::{fmt::Write as _, path::Path};

use anyhow::{Result, bail};

use crate::{
    cli::VerifyArgs,
    error::status,
    model::human::count,
    records::{
        Folder,
        verify::{Fault, Report, is_record, verify},
    },
    sinks::{sanitize::sanitize, stdout},
};

/// Names the first record that does not hold, and everything else that is wrong.
pub fn run(args: &VerifyArgs, dir: &Path) -> Result<u8> {
    let dir = args.folder.as_deref().unwrap_or(dir);
    let folder = Folder::at(dir);
    folder.segments()?;
    if !is_record(dir) && !folder.head().exists() {
        bail!("there are no records in {}: --dir names another folder", dir.display());
    }
    let report = verify(&folder)?;
    let text = if args.json { serde_json::to_string(&report)? + "\n" } else { text(&report) };
    stdout::print(&text)?;
    Ok(if report.faults.is_empty() { status::DONE } else { status::NO_MATCH })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for fault in &report.faults {
        let _ = writeln!(text, "DOES NOT HOLD  {}", sanitize(&describe(fault)));
    }
    for note in &report.notes {
        let _ = writeln!(text, "note           {}", sanitize(note));
    }
    if let Some(number) = report.retired {
        let _ = writeln!(
            text,
            "note           segments up to number {number} were removed for their age or size"
        );
    }
    if report.unsealed > 0 {
        let records = count(report.unsealed, "record");
        let _ = writeln!(text, "note           {records} at the end have no seal yet");
    }
    let verdict = if report.faults.is_empty() { "holds" } else { "DOES NOT HOLD" };
    let (records, segments) =
        (count(report.sealed, "sealed record"), count(report.segments, "segment"));
    let _ = writeln!(text, "{verdict}: {records} in {segments}; last seal {}", report.chain);
    text
}

fn describe(fault: &Fault) -> String {
    let seq = fault.seq.map(|seq| format!(" (seq {seq})")).unwrap_or_default();
    match fault.record {
        Some(record) => format!("{}, record {record}{seq}: {}", fault.segment, fault.what),
        None => format!("{}: {}", fault.segment, fault.what),
    }
}
