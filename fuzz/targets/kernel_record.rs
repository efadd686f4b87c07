//! Records of the kernel side, as they come out of a ring one after the other.
#![no_main]

use bytes::{Buf as _, Bytes};
use libfuzzer_sys::fuzz_target;
use observer::decode::{KernelEvent, Patterns, decode};

fuzz_target!(|bytes: &[u8]| {
    let mut ring = Bytes::copy_from_slice(bytes);
    let mut patterns = Patterns::default();
    while !ring.is_empty() {
        // Each says its length first.
        let size = ring.clone().try_get_u32_le().unwrap_or(0) as usize;
        let record = ring.split_to(size.clamp(1, ring.len()));
        let partial = patterns.read(&record);
        take(&partial.whole());
    }
});

fn take(record: &Bytes) {
    let Ok(event) = decode(record) else { return };
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
}
