//! A recording, replayed through all stages.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use observer::{commands::replay, enrich::Users, kernel::recording::Recording};
use observer_fuzz::{show, tell};

fuzz_target!(|bytes: &[u8]| {
    let Ok(recording) = Recording::parse(Bytes::copy_from_slice(bytes)) else { return };
    let Ok(events) = replay::events(&recording, Users::fixed([].into())) else { return };
    events.iter().for_each(show);
    tell(&events);
});
