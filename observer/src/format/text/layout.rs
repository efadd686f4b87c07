//! Headline and details: where they begin, and how they are folded.

use super::TextFormat;
use crate::{
    format::style::Severity,
    model::{Process, Time},
    sanitize::sanitize,
};

/// Width of `14:32:15.123  `.
const INDENT: usize = 14;
/// Width of a detail's name.
const LABEL: usize = 9;

/// The lines of one event.
pub(super) struct Lines<'a> {
    format: &'a TextFormat,
    now: jiff::Timestamp,
    time: String,
    text: String,
}

impl<'a> Lines<'a> {
    pub(super) fn new(format: &'a TextFormat, time: Time) -> Self {
        let mut lines = Self { format, now: time.0, time: String::new(), text: String::new() };
        lines.time = lines.clock(time);
        lines
    }

    /// `14:32:15.123`.
    pub(super) fn clock(&self, time: Time) -> String {
        time.0.to_zoned(self.format.zone.clone()).strftime("%H:%M:%S%.3f").to_string()
    }

    /// `2026-11-22 14:32:15`, for what may lie days back.
    pub(super) fn date(&self, time: Time) -> String {
        time.0.to_zoned(self.format.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// When it happened.
    pub(super) fn now(&self) -> jiff::Timestamp {
        self.now
    }

    /// First line: the time, who, and what.
    pub(super) fn headline(&mut self, who: &str, what: &str, severity: Severity) {
        let palette = self.format.palette;
        let who = sanitize(who);
        let whole = if who.is_empty() {
            sanitize(what).into_owned()
        } else {
            format!("{who}  {}", sanitize(what))
        };
        for (n, line) in self.fold(&whole, INDENT).into_iter().enumerate() {
            if n > 0 {
                self.text.push_str(&" ".repeat(INDENT));
                self.text.push_str(&palette.severity(severity, &line));
            } else {
                self.text.push_str(&palette.faint(&self.time));
                self.text.push_str("  ");
                match line.strip_prefix(who.as_ref()) {
                    Some(rest) => {
                        self.text.push_str(&palette.strong(&who));
                        self.text.push_str(&palette.severity(severity, rest));
                    }
                    None => self.text.push_str(&palette.severity(severity, &line)),
                }
            }
            self.text.push('\n');
        }
    }

    /// A further line: its name, and text that is folded under itself.
    pub(super) fn detail(&mut self, label: &str, text: &str) {
        let text = sanitize(text);
        let indent = INDENT + LABEL;
        for (n, line) in self.fold(&text, indent).into_iter().enumerate() {
            self.text.push_str(&" ".repeat(INDENT));
            let label = if n == 0 { label } else { "" };
            self.text.push_str(&self.format.palette.faint(&format!("{label:LABEL$}")));
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn fold(&self, text: &str, indent: usize) -> Vec<String> {
        let width = self.format.columns.saturating_sub(indent).max(20);
        let options = textwrap::Options::new(width)
            .break_words(true)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        textwrap::wrap(text, options).into_iter().map(std::borrow::Cow::into_owned).collect()
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// `nginx.service  nginx 812`: the unit first, since that is what people know.
pub(in crate::format) fn who(process: &Process) -> String {
    let comm = process.comm.as_deref().unwrap_or("?");
    match process.place() {
        Some(place) => format!("{place}  {comm} {}", process.pid),
        None => format!("{comm} {}", process.pid),
    }
}

/// Longest command line that is shown, in characters.
const COMMAND: usize = 300;

/// The command line as one would type it.
pub(in crate::format) fn command(process: &Process) -> Option<String> {
    let args = process.args.as_ref()?;
    let mut line = args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ");
    if line.chars().count() > COMMAND {
        line = line.chars().take(COMMAND).collect();
        line.push('…');
    }
    Some(line)
}

fn quoted(arg: &str) -> String {
    let plain =
        !arg.is_empty() && !arg.contains(|c: char| c.is_whitespace() || "'\"\\$`".contains(c));
    if plain { arg.to_owned() } else { format!("'{}'", arg.replace('\'', "'\\''")) }
}
