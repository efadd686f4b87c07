//! The service's own health, as it goes over the socket.

use std::{collections::BTreeMap, fs};

use serde::{Deserialize, Serialize};

use crate::{
    engine::live::threads::ScanHealth,
    kernel::counts::Cost,
    model::{Body, CauseType, Event, HookInfo, Kind, Time},
    store::{Folder, writer},
};

/// What `observer status` shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Version of observer.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// `seq` of the last event in the store.
    pub seq: u64,
    /// Events since the service began.
    #[serde(flatten)]
    pub counts: Counts,
    /// Who listens live.
    pub clients: Listeners,
    /// The store.
    pub store: StoreStatus,
    /// How scans of all descriptors do.
    #[serde(default)]
    pub scans: ScanHealth,
    /// Why metrics are not offered although they should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_refused: Option<String>,
    /// What the service uses itself.
    pub own: Own,
    /// The programs, and what each cost so far where the kernel counts it (sysctl kernel.bpf_stats_enabled).
    pub programs: Vec<Cost>,
    /// Programs that this kernel refused.
    pub refused: Vec<HookInfo>,
}

/// Who listens live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listeners {
    /// How many there are now.
    pub now: usize,
    /// Events that clients missed, since they did not read.
    pub missed: u64,
}

/// The store on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The folder.
    pub dir: String,
    /// How many segments it has; absent when the disk does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<usize>,
    /// What they and their seals take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// What the file system has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// What the thread that writes does.
    #[serde(flatten)]
    pub state: writer::WriterState,
}

/// What the service uses itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Own {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Its peak.
    pub peak_rss_bytes: u64,
    /// Processor time since the beginning.
    pub cpu_seconds: f64,
}

impl StoreStatus {
    /// Looks into the folder, which a disk may keep from coming back.
    #[must_use]
    pub fn of(folder: &Folder, state: writer::WriterState) -> Self {
        let segments = folder.segments().unwrap_or_default();
        let sizes = segments.iter().flat_map(|s| s.events.iter().chain([&s.seals, &s.torn]));
        let sizes = sizes.filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len());
        let free = rustix::fs::statvfs(folder.path()).ok();
        Self {
            dir: folder.path().display().to_string(),
            segments: Some(segments.len()),
            used_bytes: Some(sizes.sum()),
            free_bytes: free.map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize)),
            state,
        }
    }

    /// Without reading the folder.
    #[must_use]
    pub fn unseen(folder: &Folder, state: writer::WriterState) -> Self {
        Self { dir: folder.path().display().to_string(), state, ..Self::default() }
    }
}

impl Own {
    /// Of this process.
    #[must_use]
    pub fn now() -> Self {
        let Ok(me) = procfs::process::Process::myself() else { return Self::default() };
        let status = me.status().ok();
        let kib = |field: Option<u64>| field.unwrap_or(0) * 1024;
        let ticks = me.stat().map_or(0, |stat| stat.utime + stat.stime);
        let rate = rustix::param::clock_ticks_per_second();
        Self {
            rss_bytes: kib(status.as_ref().and_then(|s| s.vmrss)),
            peak_rss_bytes: kib(status.as_ref().and_then(|s| s.vmhwm)),
            #[expect(clippy::cast_precision_loss, reason = "a count of ticks is far below 2^52")]
            cpu_seconds: ticks as f64 / rate as f64,
        }
    }
}

/// Events since the service began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counts {
    /// When it began.
    pub since: Time,
    /// How many, by kind. An incident that still grows is none yet.
    pub events: BTreeMap<Kind, u64>,
    /// Deaths, by type of cause.
    #[serde(default)]
    pub exits: BTreeMap<CauseType, u64>,
    /// Refused binds and listens, by type of cause.
    #[serde(default)]
    pub binds: BTreeMap<CauseType, u64>,
    /// Of them, those that were counted and not stored, by kind: as the `flood` events so far say.
    #[serde(default)]
    pub summed: BTreeMap<Kind, u64>,
    /// Records lost, by kind.
    pub lost: BTreeMap<String, u64>,
}

impl Counts {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let since = Time(jiff::Timestamp::now());
        let (exits, binds) = (BTreeMap::new(), BTreeMap::new());
        let (events, summed, lost) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { since, events, exits, binds, summed, lost }
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        if event.seq.is_none() && event.body.kind() == Kind::Incident {
            return;
        }
        *self.events.entry(event.body.kind()).or_default() += 1;
        match &event.body {
            Body::Exit(exit) => *self.exits.entry(exit.cause.cause_type).or_default() += 1,
            Body::Bind(bind) => {
                *self.binds.entry(bind.cause.cause_type).or_default() += bind.count();
            }
            Body::Flood(flood) => *self.summed.entry(flood.of).or_default() += flood.count,
            Body::Loss(loss) => {
                for (kind, count) in &loss.lost {
                    *self.lost.entry(kind.clone()).or_default() += count;
                }
            }
            _ => {}
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self::new()
    }
}
