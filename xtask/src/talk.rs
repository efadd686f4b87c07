//! The only place that writes for a person to read. All of it goes to standard error, so that what
//! a command prints of its own (a guest's output, a table) stays clean on standard output.
#![expect(clippy::print_stderr, reason = "the one place that talks")]

/// Says what is about to be done.
pub(crate) fn step(text: &str) {
    eprintln!("==> {text}");
}

/// Says something that belongs to the step before.
pub(crate) fn note(text: &str) {
    eprintln!("    {text}");
}

/// Says what went wrong.
pub(crate) fn problem(text: &str) {
    eprintln!("xtask: {text}");
}

/// Sets a part of a long run apart from the one before.
pub(crate) fn heading(text: &str) {
    eprintln!("\n######## {text} ########");
}
