//! The first thing a reader of README sees is what the tool prints.

use serde_json::json;

use super::{exit, killed, node, text};

#[test]
fn readme_shows_what_is_printed() {
    let old = json!({
        "pid": 1987,
        "comm": "node",
        "args": ["node", "dist/main.js"],
        "start_time": "2026-11-20T08:11:40Z",
    });
    let refused = json!({
        "process": {"pid": 2290, "comm": "node", "unit": "shop.service", "args": ["node", "dist/main.js"]},
        "call": "bind",
        "socket": {"protocol": "tcp", "address": "127.0.0.1", "port": 8080},
        "error": {"errno": 98, "name": "EADDRINUSE"},
        "holders": [{
            "process": old,
            "fd": 19,
            "socket": {"protocol": "tcp", "address": "127.0.0.1", "port": 8080, "state": "listen"},
            "relation": "orphan",
        }],
        "cause": {
            "type": "held",
            "summary": "node 1987 serves it",
            "evidence": [],
            "confidence": "certain",
            "remedy": "end node 1987, which its dead parent left behind",
        },
    });
    let cause = json!({
        "type": "oom_kill",
        "summary": "killed by the kernel's OOM killer: shop.service reached its memory limit of 512 MiB",
        "evidence": ["the kernel chose victim 2211"],
        "confidence": "certain",
        "oom_seq": 6,
        "remedy": "raise the limit (`systemctl set-property shop.service MemoryMax=…`) or find what uses the memory",
    });
    let shown = [exit(&node(), &killed(9, "SIGKILL"), &cause), text("bind", &refused)].concat();
    let readme = include_str!("../../../../../README.md");
    assert!(readme.contains(&shown), "README.md shows something else than:\n{shown}");
}
