//! Events in JSON, as they come over the socket and out of the store, in every format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::model::Event;
use observer_fuzz::{narrate, show};

fuzz_target!(|bytes: &[u8]| {
    let events: Vec<Event> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    events.iter().for_each(show);
    narrate(&events);
});
