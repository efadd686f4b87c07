//! What the pass over all descriptors yields.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::decode::decode_holders;

fuzz_target!(|bytes: &[u8]| {
    let mut records = 0;
    let rest = decode_holders(bytes, |socket, holder| {
        let _ = (socket.endpoint(), socket.datagram(), holder.record);
        records += 1;
    });
    assert!(bytes.ends_with(rest));
    if let Some(len) = (bytes.len() - rest.len()).checked_div(records) {
        assert!(rest.len() < len, "a whole record is left");
    }
});
