//! Where the events come from that are looked back on.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::model::Event;

/// Every event of the records in a folder; a line that is no event is passed over.
pub(super) fn read_events(dir: &Path) -> Result<Vec<Event>> {
    let hint = "is the service running? `--dir` names another folder";
    let unreadable = || format!("can't read the records in {} ({hint})", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("there are no records in {} ({hint})", dir.display());
    }
    files.sort();
    let mut events = Vec::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
        let lines = bytes.split(|byte| *byte == b'\n');
        events.extend(lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok()));
    }
    Ok(events)
}
