//! Which tools are measured beside which load.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::load::Load;
use super::tool::{Ready, Tool};
use crate::{apt, process, talk};

/// The tool that does nothing: what it "costs" is the noise.
pub(crate) const NULL: &str = "`sleep` as the tool";
pub(crate) const TAIL: &str = "`observer tail --json`";
pub(crate) const TAIL_ALL: &str = "`observer tail --all --json`";
pub(crate) const BINDS_OFF: &str = "`observer tail --json --binds off`";

/// The floor of a hook.
pub(crate) fn empty(hook: &str) -> String {
    format!("an empty program on `{hook}`")
}

/// The floor of whatever tells of each run of a hook.
pub(crate) fn bare(hook: &str) -> String {
    format!("a bare record on `{hook}`")
}

/// Whether a target sets it against another one.
pub(crate) fn is_compared(tool: &str, load: &Load) -> bool {
    let tax = load.name == "getppid" && load.hook.is_some_and(|hook| tool == empty(hook));
    tax || [NULL, TAIL, TAIL_ALL, BINDS_OFF].contains(&tool)
}

/// No service is asked: each run has programs of its own.
pub(crate) const NO_SERVICE: [&str; 2] = ["--socket", "/nonexistent/observer.sock"];
pub(crate) const WATCHES: Ready = Ready::Text(r#""kind":"session""#);

const DEATHS: &str = r#"tracepoint:sched:sched_process_exit { printf("%d %s\n", pid, comm); }"#;
const BINDS: &str = r#"tracepoint:syscalls:sys_exit_bind /args->ret < 0/ { printf("%d %s %d\n", pid, comm, args->ret); }"#;

/// Programs of other people, and the packages of Debian that have them.
const PEERS: [(&str, &str); 2] = [("bpftrace", "bpftrace"), ("exitsnoop", "libbpf-tools")];

/// Installs the peers that are missing, if that is asked for; else says which are.
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

/// observer, with what is common to all its runs.
pub(crate) fn observer(binary: &Path, name: &str, words: &[&str]) -> Tool {
    let words = [&NO_SERVICE[..], &["tail", "--json"], words].concat();
    let tool = Tool::new(name, binary, &words, WATCHES);
    Tool { tells_all: name == TAIL_ALL, ..tool }
}

fn peer(name: &str, program: &Path, words: &[&str], ready: Ready) -> Tool {
    Tool { end: libc::SIGINT, ..Tool::new(name, program, words, ready) }
}

/// All that are worth to be measured beside `load`.
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
    // bpftrace says nothing when it has attached, and takes its time.
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

/// What would tax all that come after it if it were killed, and therefore comes last.
pub(crate) fn last(load: &Load, workload: &Path) -> Vec<Tool> {
    let ready = Ready::Text("ready=1");
    let tool = Tool::new("audit, a reader that counts", workload, &["bench-audit"], ready);
    if load.deadly { vec![tool] } else { Vec::new() }
}
