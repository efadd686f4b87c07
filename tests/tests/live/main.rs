//! The real binary on this machine's kernel, as root.
//!
//! One file per topic. Each test starts its own observer and its own processes and looks only at events about those,
//! so the machine may be busy with other things (`--beside-load` proves it). Tests run one at a time unless
//! `--test-threads` says otherwise. A test that cannot run here is reported as ignored with the reason, and their
//! number is printed to standard error.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod again;
mod beside;
mod bind;
mod capture;
mod cause;
mod clients;
mod demo;
mod disk;
mod doctor;
mod enrich;
mod exit;
mod fair;
mod flood;
mod hostile;
mod log;
mod metrics;
mod oom;
mod paths;
mod ports;
mod renamed;
mod restart;
mod senders;
mod servers;
mod service;
mod store;
mod storm;
mod tail;
mod tamper;
mod text;
mod tiers;
mod ways;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};
use observer_tests::{Need, needs, ours};

/// One test, and what it needs of the machine besides root and BTF.
pub(crate) struct Test {
    name: &'static str,
    needs: &'static [Need],
    run: fn(),
}

/// Lists the tests of a file under their function names.
macro_rules! tests {
    ($($name:ident $(needs $($need:ident)and+)?),+ $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] = &[$(crate::Test {
            name: stringify!($name),
            needs: &[$($(observer_tests::Need::$need),+)?],
            run: $name,
        }),+];
    };
}
pub(crate) use tests;

const FAMILIES: [(&str, &[Test]); 30] = [
    ("exit", exit::TESTS),
    ("fair", fair::TESTS),
    ("storm", storm::TESTS),
    ("cause", cause::TESTS),
    ("senders", senders::TESTS),
    ("oom", oom::TESTS),
    ("bind", bind::TESTS),
    ("tiers", tiers::TESTS),
    ("ways", ways::TESTS),
    ("again", again::TESTS),
    ("paths", paths::TESTS),
    ("ports", ports::TESTS),
    ("servers", servers::TESTS),
    ("enrich", enrich::TESTS),
    ("tail", tail::TESTS),
    ("text", text::TESTS),
    ("doctor", doctor::TESTS),
    ("demo", demo::TESTS),
    ("store", store::TESTS),
    ("renamed", renamed::TESTS),
    ("tamper", tamper::TESTS),
    ("disk", disk::TESTS),
    ("capture", capture::TESTS),
    ("clients", clients::TESTS),
    ("service", service::TESTS),
    ("restart", restart::TESTS),
    ("log", log::TESTS),
    ("metrics", metrics::TESTS),
    ("hostile", hostile::TESTS),
    ("flood", flood::TESTS),
];

/// One test for each hook and tier, and for each difference between kernels. `OBSERVER_TEST_SHORT` runs only these,
/// which CI does on every kernel.
const SHORT: [&str; 30] = [
    "exit::two_millisecond_process",
    "exit::process_started_before_the_observer",
    "exit::exec_from_a_thread_is_not_an_exit",
    "storm::kill_2000_report_2000",
    "fair::deaths_beside_a_storm",
    "fair::refusals_beside_a_storm",
    "fair::refusals_of_one_process_are_counted",
    "senders::sender_of_each_system_call",
    "senders::a_whole_cgroup",
    "oom::limit_of_an_ancestor",
    "oom::memory_oom_group",
    "oom::whole_machine",
    "bind::multipath",
    "bind::listen_refused_after_a_successful_bind",
    "tiers::deaths",
    "tiers::binds_and_listens",
    "ways::by_io_uring",
    "ways::by_a_32_bit_program",
    "service::status_report",
    "restart::deaths_after_a_stop",
    "restart::a_sender_before_a_kill",
    "hostile::a_sender_that_executes_another_program",
    "hostile::a_sender_that_changes_user_and_name",
    "hostile::a_tracer_keeps_a_signal_back",
    "hostile::a_signal_that_was_handled",
    "hostile::a_message_and_a_write_kill_nobody",
    "hostile::arguments_of_a_holder",
    "hostile::holders_of_one_socket",
    "hostile::a_path_that_hangs",
    "hostile::a_reader_locks_the_record",
];

fn main() -> ExitCode {
    let short = env::var_os("OBSERVER_TEST_SHORT").is_some();
    let (beside_load, words): (Vec<_>, Vec<_>) =
        env::args_os().partition(|word| word == beside::ARGUMENT);
    let mut arguments = Arguments::from_iter(words);
    let alone = *arguments.test_threads.get_or_insert(1) == 1;
    let nothing_runs = needs::why_nothing_runs();
    let mut skipped = Vec::new();
    let mut trials = Vec::new();
    for (family, tests) in FAMILIES {
        for test in tests {
            let name = format!("{family}::{}", test.name);
            if short && !SHORT.contains(&name.as_str()) {
                continue;
            }
            let why_not = nothing_runs.clone();
            let why_not = why_not.or_else(|| test.needs.iter().find_map(|need| need.why_not()));
            skipped.extend(why_not.as_ref().map(|why| format!("{name}: {why}")));
            trials.push(trial(name, test.run, why_not, alone));
        }
    }
    assert!(!short || trials.len() == SHORT.len(), "one of the short list has another name now");
    if !arguments.list {
        say_aloud(&skipped, trials.len(), nothing_runs.as_deref());
    }
    let load = (!beside_load.is_empty() && !arguments.list).then(beside::Load::start);
    let conclusion = libtest_mimic::run(&arguments, trials);
    let load_ran = load.is_none_or(beside::Load::stop);
    if load_ran { conclusion.exit_code() } else { ExitCode::FAILURE }
}

fn trial(name: String, run: fn(), why_not: Option<String>, alone: bool) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(why) = why_not {
            return Ok(Completion::ignored_with(format!("skipped: {why}")));
        }
        if alone {
            ours::forget_all();
        }
        run();
        Ok(Completion::Completed)
    })
}

#[expect(clippy::print_stderr, reason = "standard output belongs to the list of results")]
fn say_aloud(skipped: &[String], all: usize, nothing_runs: Option<&str>) {
    match nothing_runs {
        Some(why) => eprintln!("live: all {all} tests are SKIPPED: {why}"),
        None if skipped.is_empty() => {}
        None => {
            eprintln!("live: {} of {all} tests are SKIPPED:", skipped.len());
            for line in skipped {
                eprintln!("  {line}");
            }
        }
    }
}
