//! An event as a line of JSON.

use anyhow::Result;

use crate::model::{CUTS, Event, LINE_MAX};

/// Appends the event's line with its end. What would be longer than [`LINE_MAX`] is cut.
pub fn line(event: &Event, to: &mut Vec<u8>) -> Result<()> {
    let begin = to.len();
    serde_json::to_writer(&mut *to, event)?;
    to.push(b'\n');
    if to.len() - begin > LINE_MAX {
        let mut shorter = event.clone();
        for step in 0..CUTS {
            shorter.cut(step);
            to.truncate(begin);
            serde_json::to_writer(&mut *to, &shorter)?;
            to.push(b'\n');
            if to.len() - begin <= LINE_MAX {
                break;
            }
        }
    }
    Ok(())
}
