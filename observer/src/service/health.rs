//! What the service reports about itself.

use std::{sync::Arc, time::Duration};

use super::{
    run::Service,
    status::{Listeners, Own, ServiceStatus, StoreStatus},
};

/// How long a look at the folder of the store may take before a status goes without.
const DISK: Duration = Duration::from_secs(1);

impl Service {
    /// How it is now. The look at the disk is made elsewhere, and left out when it takes long.
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
            own: Own::now(),
            programs: kernel.costs(),
            refused: self.live.refused(),
            counts: self.counts.clone(),
        };
        let disk = Arc::clone(&self.disk);
        async move {
            let look = async {
                let turn = disk.lock_owned().await;
                tokio::task::spawn_blocking(move || {
                    let store = StoreStatus::of(&folder, state);
                    drop(turn);
                    store
                })
                .await
            };
            if let Ok(Ok(store)) = tokio::time::timeout(DISK, look).await {
                status.store = store;
            }
            status
        }
    }
}
