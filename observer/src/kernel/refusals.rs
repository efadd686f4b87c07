//! Reads the counts of refusals that the kernel side did not tell one by one, and removes those that are quiet.
//!
//! Nothing is read while nobody is refused. After a refusal the counts are read every [`EVERY_NS`] until they stand still, and
//! once more to remove them.
//!
//! **Bounded:** by the map: `observer_common::socket::REFUSALS` entries, two system calls each.

use std::collections::HashMap as StdHashMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData},
};
use observer_common::socket::{REFUSALS, RefusalCount, RefusalKey};

use super::load::take;
use crate::decode::{RepeatCount, RepeatKey};

/// How often counts are read that grow, in nanoseconds.
const EVERY_NS: u64 = 1_000_000_000;
/// A key that was not used for so long is removed.
const QUIET_NS: u64 = 10_000_000_000;

/// How many refusals a map of these counted.
pub(super) fn sum(map: Map) -> Result<u64> {
    let map: HashMap<_, Key, Value> = HashMap::try_from(map)?;
    let all = map.iter().take(2 * REFUSALS as usize).flatten();
    Ok(all.map(|(key, value)| RepeatCount::read(RepeatKey::new(key), &value).0.counted).sum())
}

type Key = [u8; size_of::<RefusalKey>()];
type Value = [u8; size_of::<RefusalCount>()];

/// The map `REFUSALS`.
pub struct Refusals {
    map: HashMap<MapData, Key, Value>,
    /// What was read last.
    known: StdHashMap<Key, u64>,
    due_ns: Option<u64>,
}

impl Refusals {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let map = HashMap::try_from(take(ebpf, "REFUSALS")?).context("REFUSALS")?;
        Ok(Self { map, known: StdHashMap::new(), due_ns: None })
    }

    /// When to read next although nothing came.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// How many refusals it counted of those that it still counts, as read last.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.known.values().sum()
    }

    /// The counts that have grown since they were read last, when that is due; at the `end` all of them. `was_refused`: somebody
    /// was refused just now, and others may be counted from now on.
    pub fn read(&mut self, now_ns: u64, was_refused: bool, end: bool) -> Vec<RepeatCount> {
        if was_refused {
            let soon = now_ns.saturating_add(EVERY_NS);
            self.due_ns = Some(self.due_ns.map_or(soon, |due| due.min(soon)));
        }
        if !end && self.due_ns.is_none_or(|due| due > now_ns) {
            return Vec::new();
        }
        let mut counts = Vec::new();
        let (mut entries, mut grows) = (0, false);
        // An entry that is gone by the time it is read was removed below; nobody else removes any.
        let all: Vec<(Key, Value)> = self.map.iter().flatten().collect();
        for (key, value) in all {
            entries += 1;
            let (mut count, used_ns) = RepeatCount::read(RepeatKey::new(key), &value);
            // The program may use it just now for the first time in ten seconds: that one is told or counted anew.
            if now_ns.saturating_sub(used_ns) > QUIET_NS && self.map.remove(&key).is_ok() {
                self.known.remove(&key);
                count.is_over = true;
                counts.push(count);
                entries -= 1;
            } else if self.known.get(&key).copied().unwrap_or(0) < count.counted {
                self.known.insert(key, count.counted);
                counts.push(count);
                grows = true;
            }
        }
        self.due_ns = match (grows, entries) {
            (true, _) => Some(now_ns.saturating_add(EVERY_NS)),
            (false, 1..) => Some(now_ns.saturating_add(QUIET_NS)),
            (false, _) => None,
        };
        counts
    }
}
