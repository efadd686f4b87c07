//! What the service tells of itself.

use std::{sync::Arc, time::Duration};

use super::Service;
use crate::service::status::{Listeners, Own, Record, Status};

/// How long a look at the folder of the record may take before a status goes without.
const DISK: Duration = Duration::from_secs(1);

impl Service {
    /// How it is now. The look at the disk is made elsewhere, and left out when it takes long.
    pub(super) fn status(&self) -> impl Future<Output = Status> + use<> {
        let kernel = self.live.kernel();
        let (now, missed) = (self.clients.len(), self.clients.missed);
        let (folder, state) = (self.recording.folder().clone(), self.recording.state());
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            seq: self.live.seq(),
            clients: Listeners { now, missed },
            record: Record::unseen(&folder, state.clone()),
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
                    let record = Record::of(&folder, state);
                    drop(turn);
                    record
                })
                .await
            };
            if let Ok(Ok(record)) = tokio::time::timeout(DISK, look).await {
                status.record = record;
            }
            status
        }
    }
}
