//! The kernel's type information.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::kernel::btf::Btf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes.to_vec()) else { return };
    let _ = btf.size("task_struct");
    let _ = btf.offset("task_struct", "a.b");
    let _ = btf.bit("task_struct", "b");
    let _ = btf.enumerator("e", "a");
    let _ = btf.has_function("f");
    let _ = btf.tracepoint_arguments("t");
});
