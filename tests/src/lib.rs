//! Shared by the end-to-end tests: the real binary, processes whose end is known, and checks of what the binary
//! reports about them.
//!
//! A test fails by panicking, with a message that says what was expected and what came. `observer` sees every process
//! of the machine; a test keeps and prints only events about processes that it started.
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
pub mod manager;
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
pub use expect::{Events, assert_has};
pub use manager::Kept;
pub use mount::Mounted;
pub use needs::Need;
pub use numbers::Numbers;
pub use observer::{Finished, Observer};
pub use service::{Place, Service, Stored};
pub use status::expected_status;
pub use workload::{Workload, deaths, run, wait_for_children, wait_for_marker};
