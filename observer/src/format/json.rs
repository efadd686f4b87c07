//! An event as a line of JSON.

use anyhow::Result;

use super::line_cache::LineCache;
use crate::model::{Body, CUTS, Event, LINE_MAX};

/// Writes lines, and remembers those of deaths that are alike.
#[derive(Default)]
pub struct JsonLines(LineCache);

impl JsonLines {
    /// As [`line`].
    pub fn line(&mut self, event: &Event, to: &mut Vec<u8>) -> Result<()> {
        if let Body::Exit(exit) = &event.body
            && let Some(shape) = exit.shape
        {
            if self.0.line(event, exit, shape, to)? {
                return Ok(());
            }
            let begin = to.len();
            line(event, to)?;
            return self.0.learn(event, exit, shape, &to[begin..]);
        }
        line(event, to)
    }
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::line;
    use crate::model::{Event, LINE_MAX};

    fn event(args: &str, released: usize) -> Event {
        let process = json!({"pid": 7, "comm": "node", "args": [args], "exe": "/x".repeat(380)});
        let socket = |n: usize| json!({"protocol": "unix", "path": format!("/run/{n}/{}", "\u{2}".repeat(100))});
        let released: Vec<_> = (0..released).map(socket).collect();
        let cause = json!({"type": "killed", "summary": "killed", "evidence": [], "confidence": "certain", "sender": process});
        let text = json!({
            "schema": 2, "seq": 9, "time": "2026-11-22T14:32:15Z", "boot_id": "b", "host": "h", "kind": "exit",
            "process": process, "status": {"signal": 9, "signal_name": "SIGKILL", "core_dumped": false, "shell_status": 137},
            "lifetime_seconds": 1.0, "cause": cause, "released": released,
        });
        serde_json::from_value(text).expect("an event")
    }

    #[test]
    fn no_line_is_too_long_and_an_ordinary_one_is_whole() {
        // Each byte of a control character takes six in JSON.
        for (args, released) in [(4096, 0), (4096, 256), (1 << 20, 4000)] {
            let long = event(&"\u{1}".repeat(args), released);
            let mut text = Vec::new();
            line(&long, &mut text).expect("JSON");
            assert!(text.len() <= LINE_MAX, "{} bytes", text.len());
            let read: Event = serde_json::from_slice(&text).expect("an event");
            assert_eq!((read.seq, read.time), (Some(9), long.time));
        }
        let (ordinary, mut text) = (event("server.js", 3), b"before\n".to_vec());
        line(&ordinary, &mut text).expect("JSON");
        let whole = serde_json::to_string(&ordinary).expect("JSON");
        assert_eq!(text, format!("before\n{whole}\n").into_bytes());
    }
}
