//! What this kernel supports, and what is printed where it lacks something: one line with a remedy, and status 3.

use observer_tests::{Workload, binaries, observer};

crate::tests![doctor_lists_what_tail_uses, no_btf, root_without_capabilities,];

fn doctor_lists_what_tail_uses() {
    let output = observer::command(["doctor"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for word in ["exit", "oom", "signal"] {
        assert!(text.contains(word), "nothing about {word} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours are for terminals");
}

/// Runs `observer tail` inside wrappers that take something away.
fn assert_refused(wrappers: &[&str], word: &str) {
    let program = binaries::observer();
    let program = program.to_str().expect("UTF-8");
    for command in [&["tail"][..], &["tail", "--json"]] {
        let words = [wrappers, &["exec", program], command].concat();
        let mut observer = Workload::start(&words);
        let ended = observer.wait();
        let stderr = observer.stderr();
        assert_eq!(ended.code(), Some(3), "{ended}: {stderr:?}");
        assert_eq!(stderr.len(), 1, "{stderr:#?}");
        assert!(stderr[0].contains(word), "{stderr:?}");
    }
}

fn no_btf() {
    assert_refused(&["hide", "/sys/kernel/btf"], "BTF");
}

fn root_without_capabilities() {
    assert_refused(&["without-capabilities"], "CAP_");
}
