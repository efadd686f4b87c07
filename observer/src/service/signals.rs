//! Signals that the service answers.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// All of them.
pub(super) struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
    pub(super) hang_up: Signal,
    /// Never waited for: with a handler, a file that is as long as it may be is an error, not our end.
    _too_long: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            _too_long: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }
}
