//! A record of the kernel side, as it comes out of a ring.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use observer::decode::{KernelEvent, decode};

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = decode(&Bytes::copy_from_slice(bytes)) else { return };
    let task = match &event {
        KernelEvent::Exit(exit) => &exit.task,
        KernelEvent::Oom(oom) => &oom.victim,
        KernelEvent::Bind(bind) => {
            let _ = (bind.socket.endpoint(), bind.asked.port());
            &bind.task
        }
    };
    assert!(!task.comm().contains(&0) && !task.parent_comm().contains(&0));
    let _ = (event.time_ns(), task.id());
});
