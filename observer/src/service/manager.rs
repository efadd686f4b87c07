//! What the service manager is told (sd_notify(3)).

use sd_notify::NotifyState;
use tokio::time::Interval;

/// What `systemctl status` shows.
#[derive(Default)]
pub(super) struct Manager {
    /// Empty: nothing yet.
    told: String,
}

impl Manager {
    /// Tells whether events are recorded, when that has changed.
    pub(super) fn say(&mut self, stopped: Option<String>) {
        let status =
            stopped.map_or_else(|| "recording".to_owned(), |why| format!("NOT RECORDING: {why}"));
        if self.told != status {
            notify(&[NotifyState::Status(&status)]);
            self.told = status;
        }
    }
}

pub(super) fn notify(state: &[NotifyState<'_>]) {
    // Not under systemd: nobody to tell.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

pub(super) async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => drop(watchdog.tick().await),
        None => std::future::pending().await,
    }
}
