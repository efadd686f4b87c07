//! Reports to the service manager (sd_notify(3)): ready, stopping, watchdog, and one line of status.

use sd_notify::NotifyState;
use tokio::time::Interval;

/// What `systemctl status` shows.
#[derive(Default)]
pub(super) struct Manager {
    /// What it was last; empty: nothing yet.
    status: String,
}

impl Manager {
    /// Reports whether events are stored, when that has changed.
    pub(super) fn say(&mut self, stopped: Option<String>) {
        let status =
            stopped.map_or_else(|| "recording".to_owned(), |why| format!("NOT RECORDING: {why}"));
        if self.status != status {
            notify(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

pub(super) fn notify(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to notify.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not notified");
    }
}

pub(super) async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => drop(watchdog.tick().await),
        None => std::future::pending().await,
    }
}
