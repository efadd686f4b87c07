//! `--beside-load`: runs the tests while others fork, bind and are refused without pause.

use std::time::Duration;

use observer_tests::{Workload, ours, patience, sys};

/// The load ends by itself after so many seconds, whatever happens to the tests.
const AT_MOST_SECONDS: u64 = 3600;

/// The option.
pub(crate) const ARGUMENT: &str = "--beside-load";

/// The load, a child of this process. Its events belong to no test.
pub(crate) struct Load(Workload);

impl Load {
    pub(crate) fn start() -> Self {
        let load = Workload::start_ready(["load".to_owned(), AT_MOST_SECONDS.to_string()]);
        ours::is_a_stranger(load.pid());
        patience::expect_load();
        Self(load)
    }

    /// Stops it and prints its counts. False when it had ended before.
    pub(crate) fn stop(self) -> bool {
        let Self(mut load) = self;
        let handle = sys::pidfd(load.pid());
        let ran = handle.is_some_and(|handle| !sys::ended_within(&handle, Duration::ZERO));
        if ran {
            load.signal(libc::SIGTERM);
            let (forks, refusals) = (load.value("forks"), load.value("refusals"));
            say(&format!("beside the tests ran {forks} forks and {refusals} refused binds"));
        } else {
            say("the load beside the tests ended before they did");
        }
        ran
    }
}

#[expect(clippy::print_stderr, reason = "standard output belongs to the list of results")]
fn say(text: &str) {
    eprintln!("live: {text}");
}
