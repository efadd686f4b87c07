//! A capture, replayed through all stages.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use observer::{
    engine::{capture::Capture, replay},
    enrich::Users,
};
use observer_fuzz::{narrate, show};

fuzz_target!(|bytes: &[u8]| {
    let Ok(capture) = Capture::parse(Bytes::copy_from_slice(bytes)) else { return };
    let events = replay::events(&capture, Users::fixed([].into()));
    events.iter().for_each(show);
    narrate(&events);
});
