//! Reads the output of each tool into one vocabulary, so that the same rules judge all.

use std::collections::BTreeSet;

/// One report of a tool.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) what: What,
    /// Its own words.
    pub(super) line: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Death {
        pid: u32,
        status: Status,
    },
    /// `from`: a process; `None` is the kernel.
    Signal {
        to: u32,
        number: u32,
        from: Option<u32>,
    },
    Fault {
        pid: u32,
        address: u64,
    },
    Oom {
        victim: u32,
        asked_by: Option<u32>,
        limit: Option<Limit>,
    },
    Refused {
        pid: u32,
        errno: i32,
        port: Option<u16>,
    },
    /// What was in the way of the process that was refused.
    InTheWay {
        pid: u32,
        holders: BTreeSet<u32>,
        time_wait: bool,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Status {
    Code(u32),
    Signal(u32),
}

/// A memory cgroup, and how much it may have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limit {
    pub(super) cgroup: String,
    pub(super) bytes: u64,
}

impl Said {
    pub(super) fn new(what: What, line: &str) -> Self {
        Self { what, line: line.split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

/// The lines of `text` that `read` understands.
fn lines(text: &[String], read: impl Fn(&[&str]) -> Option<What>) -> Vec<Said> {
    let read = |line: &String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(Said::new(read(&words)?, line))
    };
    text.iter().filter_map(read).collect()
}

/// `PCOMM PID PPID TID AGE(s) EXIT_CODE`; the last is `0`, `code 3`, or `signal 9 (Killed)`.
pub(super) fn exitsnoop(text: &[String]) -> Vec<Said> {
    lines(text, |words| {
        // A name may contain blanks: fields are found from the end.
        let ends = words.iter().rposition(|word| matches!(*word, "code" | "signal"));
        let end = ends.unwrap_or(words.len().checked_sub(1)?);
        let status = match words[end..] {
            ["0"] => Status::Code(0),
            ["code", code] => Status::Code(code.parse().ok()?),
            ["signal", signal, ..] => Status::Signal(signal.parse().ok()?),
            _ => return None,
        };
        let pid = words.get(end.checked_sub(4)?)?.parse().ok()?;
        Some(What::Death { pid, status })
    })
}

/// `TIME PID COMM SIG TPID RESULT`.
pub(super) fn sigsnoop(text: &[String]) -> Vec<Said> {
    lines(text, |words| {
        let [_, from, _, .., number, to, "0"] = words else { return None };
        let from = Some(from.parse().ok()?);
        Some(What::Signal { to: to.parse().ok()?, number: number.parse().ok()?, from })
    })
}

/// `12:00:00 Triggered by PID 1 ("a"), OOM kill of PID 2 ("b"), 3 pages, loadavg: …`.
pub(super) fn oomkill(text: &[String]) -> Vec<Said> {
    lines(text, |words| {
        let line = words.join(" ");
        let victim = number_after(&line, "OOM kill of PID ")?;
        Some(What::Oom { victim, asked_by: number_after(&line, "Triggered by PID "), limit: None })
    })
}

/// `PID COMM RET PROTO OPTS IF PORT ADDR`.
pub(super) fn bindsnoop(text: &[String]) -> Vec<Said> {
    lines(text, |words| {
        let [pid, _, .., ret, _, _, _, port, _] = words else { return None };
        let errno = ret.parse::<i32>().ok()?.checked_neg().filter(|errno| *errno > 0)?;
        Some(What::Refused { pid: pid.parse().ok()?, errno, port: port.parse().ok() })
    })
}

/// The kernel's own messages: a fault in one line, an OOM kill in many.
pub(super) fn kernel_log(text: &[String]) -> Vec<Said> {
    let mut said = Vec::new();
    let (mut asked_by, mut bytes) = (None, None);
    for line in text {
        if line.contains(" invoked oom-killer: ") {
            (asked_by, bytes) = (None, None);
        } else if line.contains("CPU: ") && asked_by.is_none() {
            asked_by = number_after(line, " PID: ");
        } else if line.contains("memory: usage ") && !line.contains("memory+swap") {
            bytes = number_after(line, ", limit ").map(|kib: u64| kib << 10);
        } else if line.contains("oom-kill:constraint=") {
            let cgroup = word_after(line, "oom_memcg=").map(str::to_owned);
            let limit = cgroup.zip(bytes).map(|(cgroup, bytes)| Limit { cgroup, bytes });
            if let Some(victim) = number_after(line, ",pid=") {
                said.push(Said::new(What::Oom { victim, asked_by, limit }, line));
            }
        } else if let Some((head, rest)) = line.split_once("]: segfault at ")
            && let Some(pid) = head.rsplit('[').next().and_then(|pid| pid.parse().ok())
            && let Some(Ok(address)) =
                rest.split(' ').next().map(|word| u64::from_str_radix(word, 16))
        {
            said.push(Said::new(What::Fault { pid, address }, line));
        }
    }
    said
}

/// What `ss -tanp 'sport = :PORT'` shows after `pid` was refused.
pub(super) fn ss(text: &[String], pid: u32) -> Vec<Said> {
    let mut holders = BTreeSet::new();
    let mut time_wait = false;
    let mut shown = Vec::new();
    for line in text {
        let state = line.split_whitespace().next();
        time_wait |= state == Some("TIME-WAIT");
        if state == Some("LISTEN") {
            holders.extend(line.split("pid=").skip(1).filter_map(leading_number::<u32>));
        }
        if matches!(state, Some("TIME-WAIT" | "LISTEN")) {
            shown.push(line.as_str());
        }
    }
    if shown.is_empty() {
        return Vec::new();
    }
    vec![Said::new(What::InTheWay { pid, holders, time_wait }, &shown.join("; "))]
}

fn number_after<T: std::str::FromStr>(line: &str, mark: &str) -> Option<T> {
    line.split_once(mark).and_then(|(_, rest)| leading_number(rest))
}

fn leading_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Up to the comma.
fn word_after<'line>(line: &'line str, mark: &str) -> Option<&'line str> {
    line.split_once(mark).and_then(|(_, rest)| rest.split(',').next())
}

#[cfg(test)]
mod tests;
