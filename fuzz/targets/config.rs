//! The settings file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::cli::config::Config;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(text) {
        assert!(error.line > 0 && error.column > 0 && !error.what.is_empty());
    }
});
