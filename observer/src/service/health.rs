//! What the service reports about itself: `observer status` and metrics.
//!
//! **Bounded:** one thread examines the folder at a time; a status waits [`DISK`] for it.

use std::{sync::Arc, time::Duration};

use super::{
    run::Service,
    status::{Listeners, Own, ServiceStatus, StoreStatus},
};

/// How long a status waits for the folder of the store.
const DISK: Duration = Duration::from_secs(1);

impl Service {
    /// How it is now. The disk is read on another thread, and left out when that takes long.
    pub(super) fn status(&self) -> impl Future<Output = ServiceStatus> + use<> {
        let kernel = self.live.kernel();
        let (now, missed) = (self.clients.len(), self.clients.missed);
        let (folder, state) = (self.storage.folder().clone(), self.storage.state());
        let mut status = ServiceStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            seq: self.live.seq(),
            clients: Listeners { now, missed },
            store: StoreStatus::unseen(&folder, state.clone()),
            scans: self.live.scan_health(),
            metrics_refused: self.scrape.refused(),
            own: Own::now(),
            programs: kernel.costs(),
            refused: self.live.refused(),
            counts: self.counts.clone(),
        };
        let disk = Arc::clone(&self.disk);
        async move {
            let on_disk = async {
                let turn = disk.lock_owned().await;
                tokio::task::spawn_blocking(move || {
                    let store = StoreStatus::of(&folder, state);
                    drop(turn);
                    store
                })
                .await
            };
            if let Ok(Ok(store)) = tokio::time::timeout(DISK, on_disk).await {
                status.store = store;
            }
            status
        }
    }
}
