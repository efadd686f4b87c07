//! The results of the guests' tests as one table, on standard output.
#![expect(clippy::print_stdout, reason = "prints the guests' output and the table")]

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::kernels::Kernel;
use super::qemu::Ended;

/// Result of one test on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// Why.
    Skipped(String),
}

/// One kernel's column.
pub(crate) struct KernelReport {
    pub(crate) version: String,
    tests: Vec<(String, Outcome)>,
    /// Everything it printed.
    pub(crate) output: Vec<String>,
    /// The script's exit status, if it came to its end.
    status: Option<i32>,
    /// Commit and day of the run.
    pub(crate) run: String,
}

/// The table.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) kernels: Vec<KernelReport>,
}

/// Prints a line of a guest's output, with the guest's name where several run at once.
pub(crate) fn show(name: Option<&str>, line: &str) {
    match name {
        Some(name) => println!("[{name}] {line}"),
        None => println!("{line}"),
    }
}

impl KernelReport {
    /// Reads the outcomes out of what the guest printed.
    pub(crate) fn new(kernel: &Kernel, ended: Ended) -> Self {
        let version = kernel.version.clone();
        let (output, status, trouble) = match ended {
            Ended::Finished { status, output } => (output, Some(status), None),
            Ended::Crashed { why } => (Vec::new(), None, Some(format!("guest crashed: {why}"))),
            Ended::TimedOut { output } => (output, None, Some("time limit reached".to_owned())),
        };
        let mut tests = outcomes(&output);
        let failed = tests.iter().any(|(_, outcome)| *outcome == Outcome::Failed);
        // A failed script without a failed test, or no test at all, is a failure.
        let trouble = trouble.or_else(|| match status {
            Some(0) if tests.is_empty() => Some("no test ran".to_owned()),
            Some(status) if status != 0 && !failed => Some(format!("exit status {status}")),
            _ => None,
        });
        if let Some(trouble) = trouble {
            tests.push((format!("({trouble})"), Outcome::Failed));
        }
        Self { version, tests, output, status, run: String::new() }
    }

    /// Adds commit and day.
    pub(super) fn of(self, run: String) -> Self {
        Self { run, ..self }
    }

    /// A kernel on which nothing has run yet.
    pub(super) fn without_a_run(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            tests: Vec::new(),
            output: Vec::new(),
            status: None,
            run: "not run yet".to_owned(),
        }
    }

    /// A kernel that is not available.
    pub(crate) fn absent(version: &str, reason: &str, asked_for: bool) -> Self {
        let (name, outcome) = if asked_for {
            (format!("({reason})"), Outcome::Failed)
        } else {
            ("(boot)".to_owned(), Outcome::Skipped(reason.to_owned()))
        };
        Self {
            version: version.to_owned(),
            tests: vec![(name, outcome)],
            output: Vec::new(),
            status: None,
            run: String::new(),
        }
    }
}

impl Report {
    /// Prints the table, the reasons of skipped tests, and the totals.
    pub(crate) fn print(&self) -> ExitCode {
        let names: BTreeSet<&str> = self
            .kernels
            .iter()
            .flat_map(|kernel| &kernel.tests)
            .map(|(name, _)| name.as_str())
            .collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        print!("\n{:width$}", "");
        for kernel in &self.kernels {
            print!("  {:>8}", kernel.version);
        }
        println!();
        for name in &names {
            print!("{name:width$}");
            for kernel in &self.kernels {
                print!("  {:>8}", kernel.outcome(name).map_or("-", Outcome::word));
            }
            println!();
        }
        let reasons: BTreeSet<(&str, &str)> = self.all().filter_map(Outcome::reason_of).collect();
        if !reasons.is_empty() {
            println!("\nskipped:");
        }
        for (name, reason) in reasons {
            println!("  {name}: {reason}");
        }
        let count = |wanted: fn(&Outcome) -> bool| {
            self.all().filter(|(_, outcome)| wanted(outcome)).count()
        };
        let failed = count(|outcome| *outcome == Outcome::Failed);
        println!(
            "\n{} passed, {failed} failed, {} skipped",
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        );
        for kernel in &self.kernels {
            for (name, _) in kernel.tests().filter(|(_, outcome)| **outcome == Outcome::Failed) {
                println!("to repeat it: {}", again(&kernel.version, name));
            }
        }
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Status of a command instead of the tests: success if it succeeded on every kernel.
    pub(crate) fn exec_status(&self) -> ExitCode {
        if self.kernels.iter().all(|kernel| kernel.status == Some(0)) {
            return ExitCode::SUCCESS;
        }
        for kernel in self.kernels.iter().filter(|kernel| kernel.status != Some(0)) {
            let how = match kernel.status {
                Some(status) => format!("exit status {status}"),
                None => kernel.tests.iter().map(|(name, _)| name.as_str()).collect(),
            };
            crate::talk::problem(&format!("guest {}: {how}", kernel.version));
        }
        ExitCode::FAILURE
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Outcome)> {
        self.kernels.iter().flat_map(KernelReport::tests)
    }
}

/// The command that repeats a failure. A failure of the guest itself has a name in parentheses.
fn again(version: &str, name: &str) -> String {
    let command = format!("cargo xtask guests --kernel {version}");
    if name.starts_with('(') { command } else { format!("{command} -- --exact {name}") }
}

impl KernelReport {
    /// The tests by name, in the order in which they ran.
    pub(super) fn tests(&self) -> impl Iterator<Item = (&str, &Outcome)> {
        self.tests.iter().map(|(name, outcome)| (name.as_str(), outcome))
    }

    fn outcome(&self, test: &str) -> Option<&Outcome> {
        self.tests().find(|(name, _)| *name == test).map(|(_, outcome)| outcome)
    }
}

impl Outcome {
    const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Skipped(_) => "skipped",
        }
    }

    fn reason_of<'a>((name, outcome): (&'a str, &'a Self)) -> Option<(&'a str, &'a str)> {
        match outcome {
            Self::Skipped(reason) => Some((name, reason)),
            _ => None,
        }
    }

    /// `ok`, `FAILED`, `ignored`, `ignored (reason)`.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "ok" => Some(Self::Passed),
            "FAILED" => Some(Self::Failed),
            _ => {
                let reason = text.strip_prefix("ignored")?.trim();
                let reason = reason.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
                let reason = reason.unwrap_or("no reason given");
                Some(Self::Skipped(reason.trim_start_matches("skipped: ").to_owned()))
            }
        }
    }
}

/// Reads lines `test NAME ... OUTCOME`. Output of the test may come between NAME and OUTCOME.
fn outcomes(output: &[String]) -> Vec<(String, Outcome)> {
    let mut tests = Vec::new();
    let mut open: Option<String> = None;
    for line in output {
        if let Some((name, rest)) =
            line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
        {
            let name = name.trim().to_owned();
            match Outcome::parse(rest.trim()) {
                Some(outcome) => tests.push((name, outcome)),
                None => open = Some(name),
            }
        } else if let Some(outcome) = Outcome::parse(line.trim())
            && let Some(name) = open.take()
        {
            tests.push((name, outcome));
        }
    }
    // A test without a result did not pass.
    tests.extend(open.map(|name| (name, Outcome::Failed)));
    tests
}

#[cfg(test)]
mod tests {
    use super::{Outcome, again, outcomes};

    #[test]
    fn libtest_lines_are_read() {
        let output = "running 4 tests\n\
            test exit::code   ... ok\n\
            test oom::limit   ... FAILED\n\
            test bind::uring  ... ignored (skipped: no io_uring (yet))\n\
            test exit::noisy  ... a word in between\n\
            ok\n\
            test result: FAILED. 2 passed; 1 failed"
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert_eq!(
            outcomes(&output),
            [
                ("exit::code".to_owned(), Outcome::Passed),
                ("oom::limit".to_owned(), Outcome::Failed),
                ("bind::uring".to_owned(), Outcome::Skipped("no io_uring (yet)".to_owned())),
                ("exit::noisy".to_owned(), Outcome::Passed),
            ]
        );
    }

    #[test]
    fn failures_have_a_command_that_repeats_them() {
        assert_eq!(
            again("6.1", "exit::code"),
            "cargo xtask guests --kernel 6.1 -- --exact exit::code"
        );
        assert_eq!(again("6.1", "(no test ran)"), "cargo xtask guests --kernel 6.1");
    }

    #[test]
    fn test_without_result_failed() {
        let output = ["test exit::hang ... ".to_owned()];
        assert_eq!(outcomes(&output), [("exit::hang".to_owned(), Outcome::Failed)]);
    }
}
