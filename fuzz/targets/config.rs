//! The settings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse(text) {
        Ok(config) => {
            let _ = (config.files.settings(), config.dir(), config.socket());
        }
        Err(error) => assert!(!format!("{error:#}").is_empty()),
    }
});
