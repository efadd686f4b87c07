//! `cargo xtask ci`: the jobs of CI, in the order in which a failure is cheapest to find.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{apt, deb, ebpf, guests, host, lint, talk, test, times};

/// Real servers that live tests observe.
const SERVERS: [&str; 2] = ["nginx-light", "nodejs"];

/// Options of `cargo xtask ci`.
#[derive(Args)]
pub(crate) struct Options {
    /// Which jobs; all of them if none is named
    #[arg(value_enum, value_name = "JOB")]
    jobs: Vec<Job>,
}

/// One job of `.github/workflows/ci.yml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Format, lints, module imports, file sizes, licences
    Lint,
    /// The eBPF object in the tree is what its sources give
    Ebpf,
    /// Every test that this machine can run
    Test,
    /// The Debian package: built, checked, installed, used, purged
    Deb,
    /// The package on a whole Debian, and the first scenario
    Host,
    /// The short list of live tests on every supported kernel
    Guests,
}

impl Job {
    /// The command that repeats it; its options are those of CI.
    const fn command(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Ebpf => "ebpf --check",
            Self::Test => "test",
            Self::Deb => "deb --install",
            Self::Host => "host --scenario a-memory-max",
            Self::Guests => "guests --short --jobs 2",
        }
    }

    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Lint => Ok(lint::run()),
            Self::Ebpf => ebpf::check(),
            Self::Test => {
                // Without them the tests that need them are skipped, which the output says.
                if let Err(error) = apt::install(&SERVERS) {
                    talk::problem(&format!("{error:#}"));
                }
                test::run(&test::Options::default())
            }
            Self::Deb => deb::run(&deb::Options::every_check()),
            Self::Host => host::run(&host::Options::first_scenario()),
            Self::Guests => guests::run(&guests::Options::short_matrix()),
        }
    }
}

/// Runs the jobs, also after one has failed, and sums up.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut results = Vec::new();
    for &job in options.chosen() {
        let mut words = job.command().split(' ');
        let time = times::of(words.next().unwrap_or(""), words.next().unwrap_or(""));
        talk::heading(&format!("cargo xtask {}: {}", job.command(), time.unwrap_or_default()));
        let start = Instant::now();
        let status = job.run().unwrap_or_else(|error| {
            talk::problem(&format!("{error:#}"));
            ExitCode::FAILURE
        });
        results.push((job, status == ExitCode::SUCCESS, start.elapsed()));
    }
    talk::heading("summary");
    for (job, good, took) in &results {
        let word = if *good { "ok" } else { "FAILED" };
        talk::note(&format!("{word:6}  {:4} s  cargo xtask {}", took.as_secs(), job.command()));
    }
    if results.iter().all(|(_, good, _)| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Options {
    fn chosen(&self) -> &[Job] {
        if self.jobs.is_empty() { Job::value_variants() } else { &self.jobs }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{CommandFactory as _, Parser as _, ValueEnum as _};

    use super::{Job, Options};
    use crate::cli::Cli;
    use crate::workspace;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn jobs_by_name_and_all_without_a_name() {
        let jobs = |words: &[&str]| {
            let line = ["ci"].iter().chain(words);
            Line::try_parse_from(line).map(|line| line.options.chosen().to_vec()).ok()
        };
        assert_eq!(jobs(&["deb", "lint"]), Some(vec![Job::Deb, Job::Lint]));
        assert_eq!(jobs(&[]), Some(Job::value_variants().to_vec()));
        assert_eq!(jobs(&["no-such-job"]), None);
    }

    #[test]
    fn the_summary_names_commands_that_exist() {
        for job in Job::value_variants() {
            let line = ["cargo xtask"].into_iter().chain(job.command().split(' '));
            assert!(Cli::command().try_get_matches_from(line).is_ok(), "{}", job.command());
        }
    }

    #[test]
    fn the_workflow_has_every_job() {
        let path = workspace::root().join(".github/workflows/ci.yml");
        let text = fs::read_to_string(path).expect("it is checked in");
        let names = Job::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
        let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
        assert!(text.contains(&format!("job: [{}]", names.join(", "))), "{names:?}");
    }
}
