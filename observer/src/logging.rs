//! Diagnostics on stderr; events go to stdout.

use std::io::{IsTerminal as _, Write as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::sanitize::sanitize;

/// Starts the log: warnings, or what `RUST_LOG` says, and the eBPF programs' own messages at the level of `ebpf_log`.
pub fn start(ebpf_log: Option<&str>) {
    let mut directives = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned());
    if let Some(level) = ebpf_log {
        directives.push_str(",observer_ebpf=");
        directives.push_str(level);
    }
    let filter = EnvFilter::builder().parse_lossy(directives);
    let started = fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured())
        .with_writer(std::io::stderr)
        .try_init();
    debug_assert!(started.is_ok());
}

/// Colour is for terminals, and `NO_COLOR` is obeyed there.
fn is_coloured() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !plain
}

/// One line about what went wrong.
pub fn error(error: &anyhow::Error) {
    say(&format!("observer: {error:#}"));
}

/// One line of diagnostics.
pub fn say(line: &str) {
    let line = sanitize(&line.replace('\n', " ")).into_owned();
    // A closed stderr is not an error.
    let _ = writeln!(std::io::stderr(), "{line}");
}
