//! `observer verify`: checks the seals of the store.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    cli::{Settings, VerifyArgs},
    error::status,
    model::human::count,
    sanitize::sanitize,
    stdout,
    store::{
        Folder,
        verify::{Fault, VerifyReport, verify},
    },
};

/// Names the first event that does not hold, and everything else that is wrong.
pub fn run(args: &VerifyArgs, settings: &Settings) -> Result<u8> {
    let mut folder = Folder::at(&settings.dir);
    if !folder.head().exists() {
        folder = Folder::with_events(&settings.dir)?;
    }
    let report = verify(&folder)?;
    let text = if args.json { serde_json::to_string(&report)? + "\n" } else { text(&report) };
    stdout::print(&text)?;
    Ok(if report.faults.is_empty() { status::DONE } else { status::NO_MATCH })
}

fn text(report: &VerifyReport) -> String {
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
        let events = count(report.unsealed, "event");
        let _ = writeln!(text, "note           {events} at the end have no seal yet");
    }
    let verdict = if report.faults.is_empty() { "holds" } else { "DOES NOT HOLD" };
    let (events, segments) =
        (count(report.sealed, "sealed event"), count(report.segments, "segment"));
    let _ = writeln!(text, "{verdict}: {events} in {segments}; last seal {}", report.chain);
    text
}

fn describe(fault: &Fault) -> String {
    let seq = fault.seq.map(|seq| format!(" (seq {seq})")).unwrap_or_default();
    match fault.record {
        Some(event) => format!("{}, event {event}{seq}: {}", fault.segment, fault.what),
        None => format!("{}: {}", fault.segment, fault.what),
    }
}
