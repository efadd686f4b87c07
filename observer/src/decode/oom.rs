//! Decodes the record of an OOM kill.

use observer_common::oom::{MemoryLevel, OOM_KILL_SENT, OomRecord};

use super::{DecodeError, Task, cursor::Cursor, task::path};

/// The OOM killer chose a victim.
#[derive(Clone, Debug)]
pub struct Oom {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// The fixed part.
    pub record: OomRecord,
    /// Path of the victim's memory cgroup.
    pub victim_memory: Vec<u8>,
    /// Path of the trigger's memory cgroup.
    pub trigger_memory: Vec<u8>,
    /// The process that was chosen.
    pub victim: Task,
    /// The process whose allocation failed.
    pub trigger: Task,
}

impl Oom {
    /// The victim's memory cgroup and those above it.
    #[must_use]
    pub fn levels(&self) -> &[MemoryLevel] {
        let len = (self.record.levels_len as usize).min(self.record.levels.len());
        &self.record.levels[..len]
    }

    /// Kernel addresses of the callers.
    #[must_use]
    pub fn frames(&self) -> &[u64] {
        let len = (self.record.frames_len as usize).min(self.record.frames.len());
        &self.record.frames[..len]
    }

    /// Whether the victim was killed; otherwise it was exiting anyway.
    #[must_use]
    pub fn kill_sent(&self) -> bool {
        self.record.flags & OOM_KILL_SENT != 0
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Oom, DecodeError> {
    let record: OomRecord = cursor.fixed()?;
    let victim_memory = path(cursor.take(record.victim_memory_len as usize)?, false);
    let trigger_memory = path(cursor.take(record.trigger_memory_len as usize)?, false);
    let victim = Task::decode(cursor)?;
    let trigger = Task::decode(cursor)?;
    Ok(Oom {
        time_ns: record.header.time_ns,
        record,
        victim_memory,
        trigger_memory,
        victim,
        trigger,
    })
}
