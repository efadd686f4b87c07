//! Refusals that the kernel side only counts: `observer-ebpf/src/refusal.rs`.

use observer_common::socket::{RefusalCount, RefusalKey};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::raw;

/// What refusals have in common that are told once and then counted, as bytes that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RepeatKey(#[serde(with = "raw")] [u8; size_of::<RefusalKey>()]);

impl RepeatKey {
    /// As the map `REFUSALS` has it.
    #[must_use]
    pub fn new(bytes: [u8; size_of::<RefusalKey>()]) -> Self {
        Self(bytes)
    }

    /// The key of a record; `None` when the kernel side counts none of its kind.
    pub(super) fn of(key: &RefusalKey) -> Option<Self> {
        let mut bytes = [0; size_of::<RefusalKey>()];
        key.write_to(&mut bytes).ok()?;
        (bytes != [0; size_of::<RefusalKey>()]).then_some(Self(bytes))
    }
}

/// How many refusals with one key were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepeatCount {
    /// What they have in common.
    pub key: RepeatKey,
    /// How many since the kernel side began to count: it only grows.
    pub counted: u64,
    /// When the last of them was: nanoseconds of `CLOCK_BOOTTIME`.
    pub last_ns: u64,
    /// The kernel side counts no more of them: the next one is told, and the count begins at 0.
    pub is_over: bool,
}

impl RepeatCount {
    /// From a value of the map `REFUSALS`, and when the key was used last.
    #[must_use]
    pub fn read(key: RepeatKey, value: &[u8; size_of::<RefusalCount>()]) -> (Self, u64) {
        let value = RefusalCount::read_from_bytes(value).unwrap_or_else(|_| {
            unreachable!("the array has the size of the structure");
        });
        let (counted, last_ns) = (value.counted, value.last_ns);
        (Self { key, counted, last_ns, is_over: false }, last_ns.max(value.second_ns))
    }
}
