//! Colours by severity; none when the output is not a terminal or the user says so.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

/// How to write a part of a line.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    colour: bool,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody will be called: an OOM kill, a crash, a loss of records.
    Bad,
    /// Somebody may want to know: killed, a non-zero exit.
    Notable,
    /// As it should be.
    Ordinary,
}

impl Palette {
    /// Never any colour.
    pub const PLAIN: Self = Self { colour: false };

    /// Colour wherever it goes.
    #[cfg(test)]
    pub(crate) const COLOUR: Self = Self { colour: true };

    /// Colour when standard output is a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or the terminal is dumb.
    #[must_use]
    pub fn for_stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// The text in the colour of its severity.
    #[must_use]
    pub fn severity(self, severity: Severity, text: &str) -> String {
        let style = match severity {
            Severity::Bad => AnsiColor::Red.on_default().bold(),
            Severity::Notable => AnsiColor::Yellow.on_default(),
            Severity::Ordinary => Style::new(),
        };
        self.paint(style, text)
    }

    /// What matters most in a line.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// What matters least.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
