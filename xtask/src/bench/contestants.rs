//! Which tools are measured beside which load.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::load::Load;
use super::tool::{Ready, Tool};
use crate::{apt, process, talk};

/// A tool that does nothing: what it "costs" is the noise.
pub(crate) const NULL: &str = "`sleep` as the tool";
pub(crate) const TAIL: &str = "`observer tail --json`";
pub(crate) const TAIL_ALL: &str = "`observer tail --all --json`";
pub(crate) const BINDS_OFF: &str = "`observer tail --json --binds off`";

/// An empty program on a hook: the least that a hook costs.
pub(crate) fn empty(hook: &str) -> String {
    format!("an empty program on `{hook}`")
}

/// A program that writes a minimal record: the least that reporting each run costs.
pub(crate) fn bare(hook: &str) -> String {
    format!("a bare record on `{hook}`")
}

/// Whether a target compares it with another tool.
pub(crate) fn is_compared(tool: &str, load: &Load) -> bool {
    let tax = load.name == "getppid" && load.hook.is_some_and(|hook| tool == empty(hook));
    tax || [NULL, TAIL, TAIL_ALL, BINDS_OFF].contains(&tool)
}

/// Joins no service: each run loads its own programs.
pub(crate) const NO_SERVICE: [&str; 2] = ["--socket", "/nonexistent/observer.sock"];
pub(crate) const WATCHES: Ready = Ready::Text(r#""kind":"session""#);

const DEATHS: &str = r#"tracepoint:sched:sched_process_exit { printf("%d %s\n", pid, comm); }"#;
const BINDS: &str = r#"tracepoint:syscalls:sys_exit_bind /args->ret < 0/ { printf("%d %s %d\n", pid, comm, args->ret); }"#;

/// Other tools, and the Debian packages that have them.
const PEERS: [(&str, &str); 2] = [("bpftrace", "bpftrace"), ("exitsnoop", "libbpf-tools")];

/// Installs the missing tools if asked to; else lists them.
pub(crate) fn prepare_peers(install: bool) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    for (program, package) in PEERS {
        if process::find(program).is_none() && install {
            apt::install(&[package])?;
        }
        if process::find(program).is_none() {
            let text = format!("`{program}` is not installed (`--peers` installs `{package}`)");
            talk::note(&text);
            left_out.push(text);
        }
    }
    Ok(left_out)
}

/// observer, with the arguments that all its runs share.
pub(crate) fn observer(binary: &Path, name: &str, words: &[&str]) -> Tool {
    let words = [&NO_SERVICE[..], &["tail", "--json"], words].concat();
    let tool = Tool::new(name, binary, &words, WATCHES);
    Tool { tells_all: name == TAIL_ALL, ..tool }
}

fn peer(name: &str, program: &Path, words: &[&str], ready: Ready) -> Tool {
    Tool { end: libc::SIGINT, ..Tool::new(name, program, words, ready) }
}

/// The tools to measure beside `load`.
pub(crate) fn of(load: &Load, binary: &Path, workload: &Path) -> Vec<Tool> {
    let sleeper = Path::new("sleep");
    let mut tools = vec![
        Tool::new(NULL, sleeper, &["600"], Ready::After(Duration::ZERO)),
        observer(binary, TAIL, &[]),
    ];
    if load.deadly {
        tools.push(observer(binary, TAIL_ALL, &["--all"]));
    } else {
        tools.push(observer(binary, BINDS_OFF, &["--binds", "off"]));
    }
    let ready = Ready::Text("ready=1");
    if let Some(hook) = load.hook {
        tools.push(Tool::new(&empty(hook), workload, &["bench-hook", hook], ready));
        if load.deadly {
            tools.push(Tool::new(&bare(hook), workload, &["bench-record", hook], ready));
        }
    }
    if load.deadly || load.name == "threads" {
        let name = "process connector, a reader that counts";
        tools.push(Tool::new(name, workload, &["bench-connector"], ready));
    }
    // bpftrace prints nothing when it has attached, which takes seconds.
    let later = Ready::After(Duration::from_secs(3));
    let found = |program: &str| process::find(program);
    if let Some(bpftrace) = found("bpftrace") {
        if load.deadly {
            let name = "bpftrace, a line for each end of a thread";
            tools.push(peer(name, &bpftrace, &["-e", DEATHS], later));
        } else if matches!(load.name, "bind" | "refused" | "getppid") {
            let name = "bpftrace, a line for each refused bind";
            tools.push(peer(name, &bpftrace, &["-e", BINDS], later));
        }
    }
    if let Some(exitsnoop) = found("exitsnoop").filter(|_| load.deadly) {
        let later = Ready::After(Duration::from_millis(1500));
        tools.push(peer("exitsnoop (libbpf-tools)", &exitsnoop, &[], later));
    }
    tools
}

/// Tools that would slow down all later ones if they were killed, and therefore come last.
pub(crate) fn last(load: &Load, workload: &Path) -> Vec<Tool> {
    let ready = Ready::Text("ready=1");
    let tool = Tool::new("audit, a reader that counts", workload, &["bench-audit"], ready);
    if load.deadly { vec![tool] } else { Vec::new() }
}
