//! The kernel's type information.
#![no_main]

use libfuzzer_sys::fuzz_target;
use observer::kernel::btf::Btf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes.to_vec()) else { return };
    if let Some(structure) = btf.structure("task_struct") {
        let _ = (structure.size(), structure.offset("a.b"), structure.bit("b"));
    }
    let names = btf.names_to_attach_to().expect("a small one");
    let _ = Btf::parse(names).expect("BTF from BTF");
    let _ = btf.enumerator("e", "a");
    let _ = btf.has_function("f");
    let _ = btf.tracepoint_arguments("t");
});
