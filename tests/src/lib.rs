//! What the end-to-end tests share: the real binary, processes with a known end, and a judgement
//! of what the one said about the other.
//!
//! A test fails by panicking, with a message that says what was awaited and what came instead.
//! `observer` sees every process of the machine; only what it says about processes that a test
//! started is kept, and nothing else is ever printed.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a result that a test drops is a test that asserts nothing, which a reader sees"
)]

pub mod binaries;
pub mod cgroup;
pub mod expect;
pub mod mount;
pub mod needs;
pub mod numbers;
pub mod observer;
pub mod ours;
pub mod patience;
pub mod process;
pub mod schema;
pub mod service;
pub mod skim;
pub mod status;
pub mod sys;
pub mod tiers;
pub mod workload;

pub use cgroup::Cgroup;
pub use expect::{Story, assert_has};
pub use mount::Mounted;
pub use needs::Need;
pub use numbers::Numbers;
pub use observer::{Finished, Observer};
pub use service::{Place, Record, Service};
pub use status::expected_status;
pub use workload::{Workload, deaths, run, wait_for_children, wait_for_marker};
