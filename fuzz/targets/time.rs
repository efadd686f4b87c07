//! Times on the command line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::filter::parse_time;

fuzz_target!(|text: &str| {
    if let Err(error) = parse_time(text) {
        assert!(!error.is_empty());
    }
});
