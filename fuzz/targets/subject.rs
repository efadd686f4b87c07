//! What `why` is asked about.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::subject::Subject;

fuzz_target!(|text: &str| {
    let Ok(subject) = text.parse::<Subject>() else { return };
    assert_eq!(subject.to_string().parse(), Ok(subject));
});
