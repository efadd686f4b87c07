//! Messages for a person, on standard error. Standard output is for data: a guest's output, a table.
#![expect(clippy::print_stderr, reason = "the one place that prints messages")]

/// Announces a step.
pub(crate) fn step(text: &str) {
    eprintln!("==> {text}");
}

/// Adds a detail to the step.
pub(crate) fn note(text: &str) {
    eprintln!("    {text}");
}

/// Prints what went wrong.
pub(crate) fn problem(text: &str) {
    eprintln!("xtask: {text}");
}

/// Begins a part of a long run.
pub(crate) fn heading(text: &str) {
    eprintln!("\n######## {text} ########");
}
