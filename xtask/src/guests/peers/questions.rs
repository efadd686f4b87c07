//! The questions about each case, and which tools are made to answer them.

use super::judge::Ask::{self, Address, AskedBy, Death, InTheWay, Limit, Refused, Sender, Victim};
use super::observer;
use super::output::{Output, Truth};
use super::said::{self, Said};

/// A tool, and the questions it is made to answer.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// Its file in the guest's output.
    pub(super) file: &'static str,
    pub(super) is_for: &'static str,
    asks: &'static [Ask],
}

pub(super) const OBSERVER: &str = "observer";
const SS: &str = "ss";

/// The order of the table's columns.
pub(super) const TOOLS: [Tool; 7] = [
    Tool {
        name: "exitsnoop",
        file: "exitsnoop",
        is_for: "how processes end: code or signal, age",
        asks: &[Death],
    },
    Tool {
        name: "sigsnoop",
        file: "sigsnoop",
        is_for: "which process sends which signal to which",
        asks: &[Sender],
    },
    Tool {
        name: "oomkill",
        file: "oomkill",
        is_for: "OOM kills: the victim, and whose request set it off",
        asks: &[Victim, AskedBy],
    },
    Tool {
        name: "bindsnoop",
        file: "bindsnoop",
        is_for: "calls of bind(2), with their errors",
        asks: &[Refused],
    },
    Tool {
        name: "kernel log",
        file: "kernel-log",
        is_for: "OOM kills and unhandled faults, as the kernel itself puts them",
        asks: &[Address, Victim, AskedBy, Limit],
    },
    Tool {
        name: SS,
        file: SS,
        is_for: "who has which socket at the moment it is run: here, one second after each refusal",
        asks: &[InTheWay],
    },
    Tool {
        name: OBSERVER,
        file: OBSERVER,
        is_for: "why a process ended; who is in the way of a port",
        asks: &[Death, Sender, Address, Victim, AskedBy, Limit, Refused, InTheWay],
    },
];

/// One row.
pub(super) struct Question {
    pub(super) case: &'static str,
    pub(super) happened: &'static str,
    pub(super) ask: Ask,
    pub(super) asked: &'static str,
    /// Tools that answer such questions, but not this one.
    not_for: &'static [&'static str],
}

const fn row(
    case: &'static str,
    happened: &'static str,
    ask: Ask,
    asked: &'static str,
) -> Question {
    Question { case, happened, ask, asked, not_for: &[] }
}

const fn but_not_for(not_for: &'static [&'static str], row: &Question) -> Question {
    Question { not_for, ..*row }
}

const KILLED: &str = "SIGKILL from a sibling";
const TERM: &str = "SIGTERM from a sibling";
const HANDLED: &str = "SIGTERM from a sibling; it handles it and exits with 0";
const FAULT: &str = "a write to address 0xdead0000";
const OOM: &str =
    "a small process asks for memory in a full cgroup, and the kernel kills a large one";
const SAME: &str = "a bind to an address and port that another process serves";
const WILDCARD: &str = "a bind to 0.0.0.0, where another process serves 127.0.0.1";
const FAMILIES: &str = "a bind to 0.0.0.0, where another process serves [::]";
const SHARED: &str = "a bind to a port that parent and child serve with one socket";
const GONE: &str = "a bind to a port whose holder is killed right after";
const WAIT: &str = "a bind to a port where only TIME_WAIT is left";
const LISTEN: &str = "a listen, where another process listens: the bind went well";

/// The order of the table's rows.
pub(super) const QUESTIONS: [Question; 29] = [
    row("exit-code", "exit with 3", Death, "status"),
    row("signal-9", KILLED, Death, "status"),
    row("signal-9", KILLED, Sender, "sender"),
    row("signal-15", TERM, Death, "status"),
    row("signal-15", TERM, Sender, "sender"),
    row("term-handled", HANDLED, Death, "status"),
    row("term-handled", HANDLED, Sender, "sender"),
    row("fault", FAULT, Death, "status"),
    row("fault", FAULT, Address, "address"),
    row(
        "leader-first",
        "the first thread leaves with 3, another ends the process with 7",
        Death,
        "status",
    ),
    row(
        "exec-from-thread",
        "another thread than the first calls exec; later, exit with 5",
        Death,
        "status, once",
    ),
    row("oom", OOM, Death, "status"),
    row("oom", OOM, Sender, "that no process sent the signal"),
    row("oom", OOM, Victim, "victim"),
    row("oom", OOM, AskedBy, "who asked for memory"),
    row("oom", OOM, Limit, "whose limit, and how much: that of the group above"),
    row("same-address", SAME, Refused, "error and port"),
    row("same-address", SAME, InTheWay, "holder"),
    row("wildcard", WILDCARD, Refused, "error and port"),
    row("wildcard", WILDCARD, InTheWay, "holder"),
    row("both-families", FAMILIES, Refused, "error and port"),
    row("both-families", FAMILIES, InTheWay, "holder"),
    row("shared", SHARED, InTheWay, "both holders"),
    // `ss` shows the present, and shows it correctly: nobody holds the port any more.
    but_not_for(&[SS], &row("gone", GONE, InTheWay, "holder")),
    row("time-wait", WAIT, InTheWay, "that nobody holds it"),
    row("no-right", "a bind to port 80 without the right to", Refused, "error and port"),
    row("not-local", "a bind to an address of no interface here", Refused, "error and port"),
    // No bind was refused.
    but_not_for(&["bindsnoop"], &row("listen", LISTEN, Refused, "error and port")),
    row("listen", LISTEN, InTheWay, "holder"),
];

impl Question {
    /// Whether that tool is made to answer it.
    pub(super) fn is_for(&self, tool: &Tool) -> bool {
        tool.asks.contains(&self.ask) && !self.not_for.contains(&tool.name)
    }
}

impl Tool {
    /// All reports of the tool; of `ss`, which runs once for each refusal, those of that case.
    pub(super) fn said(&self, output: &Output, case: &str, truth: &Truth) -> Vec<Said> {
        let text = output.file(self.file);
        match self.name {
            "exitsnoop" => said::exitsnoop(text),
            "sigsnoop" => said::sigsnoop(text),
            "oomkill" => said::oomkill(text),
            "bindsnoop" => said::bindsnoop(text),
            "kernel log" => said::kernel_log(text),
            SS => said::ss(output.file(&format!("ss-{case}")), truth.get("pid").unwrap_or(0)),
            _ => observer::read(text),
        }
    }
}
