//! The kernel's audit, as auditd has it: a record for each exit_group(2), exit(2) and kill(2), sent to one reader.
//!
//! Once audit was on, every process forked later has a context that each of its system calls fills. A rule that no process
//! shall have one ends that, for those forked after it; it stays when we are gone.

use libc::c_int;

use super::netlink::{self, receive, word};
use crate::args::Args;
use crate::{Outcome, sys};

/// include/uapi/linux/audit.h.
const AUDIT_GET: u32 = 1000;
const AUDIT_SET: u32 = 1001;
const AUDIT_ADD_RULE: u32 = 1011;
const AUDIT_DEL_RULE: u32 = 1012;
const AUDIT_SYSCALL: u32 = 1300;
const STATUS_ENABLED: u32 = 1;
const STATUS_PID: u32 = 4;
const STATUS_BACKLOG_LIMIT: u32 = 16;
const FILTER_TASK: u32 = 1;
const FILTER_EXIT: u32 = 4;
const NEVER: u32 = 0;
const ALWAYS: u32 = 2;
/// `struct audit_rule_data`: three words, 64 of the system calls, three times 64 of fields, the length of texts.
const RULE: usize = 3 + 4 * 64 + 1;
/// As Debian's audit.rules have it.
const BACKLOG: u32 = 8192;

/// `bench-audit`: says `ready=1`, counts records until SIGTERM, then says `records=N`. Refuses where somebody else has audit on.
pub(super) fn audit(_args: Args) -> Outcome {
    let socket = netlink::open(libc::NETLINK_AUDIT, 0)?;
    if in_use(socket)? {
        return Err("audit is on here, or has a reader; `auditctl -e 0` switches it off".to_owned());
    }
    let records = records(socket);
    // Whatever became of it.
    off(socket)?;
    sys::say("records", records?);
    Ok(0)
}

/// Switches it on, and counts.
fn records(socket: c_int) -> Result<u64, String> {
    ask(socket, AUDIT_DEL_RULE, &nobody(), &[libc::ENOENT])?;
    ask(socket, AUDIT_ADD_RULE, &ends(), &[libc::EEXIST])?;
    let mask = STATUS_ENABLED | STATUS_PID | STATUS_BACKLOG_LIMIT;
    ask(socket, AUDIT_SET, &status(mask, 1, std::process::id()), &[])?;
    let mut records = 0;
    netlink::listen(socket, |message| {
        records += u64::from(word(message, 4).is_some_and(|kind| kind & 0xffff == AUDIT_SYSCALL));
    });
    Ok(records)
}

fn off(socket: c_int) -> Result<(), String> {
    ask(socket, AUDIT_SET, &status(STATUS_ENABLED, 0, 0), &[])?;
    ask(socket, AUDIT_DEL_RULE, &ends(), &[libc::ENOENT])?;
    ask(socket, AUDIT_ADD_RULE, &nobody(), &[libc::EEXIST])?;
    ask(socket, AUDIT_SET, &status(STATUS_PID, 0, 0), &[])
}

/// Whoever ends, and whoever sends a signal.
fn ends() -> Vec<u32> {
    rule(FILTER_EXIT, ALWAYS, &[libc::SYS_exit_group, libc::SYS_exit, libc::SYS_kill])
}

/// No process has a context.
fn nobody() -> Vec<u32> {
    rule(FILTER_TASK, NEVER, &[])
}

/// `struct audit_status`.
fn status(mask: u32, enabled: u32, pid: u32) -> Vec<u32> {
    vec![mask, enabled, 0, pid, 0, BACKLOG, 0, 0, 0, 0]
}

fn rule(filter: u32, action: u32, calls: &[libc::c_long]) -> Vec<u32> {
    let mut words = vec![0; RULE];
    (words[0], words[1]) = (filter, action);
    for &call in calls {
        let call = usize::try_from(call).unwrap_or_default();
        words[3 + call / 32] |= 1 << (call % 32);
    }
    words
}

fn in_use(socket: c_int) -> Result<bool, String> {
    request(socket, AUDIT_GET, 1, &[])?;
    let mut buffer = [0; 1024];
    let message = receive(socket, &mut buffer).ok_or("audit does not answer")?;
    // Behind the header: the mask, then whether it is on, then what is done about failures, then the reader.
    Ok(word(message, 20) != Some(0) || word(message, 28) != Some(0))
}

/// Sends a request, and waits until it is granted or refused with one of `but`. Records that come first are nobody's.
fn ask(socket: c_int, kind: u32, body: &[u32], but: &[c_int]) -> Result<(), String> {
    const NLM_F_REQUEST_ACK: u32 = 1 | 4;
    const NLMSG_ERROR: u32 = 2;
    request(socket, kind, NLM_F_REQUEST_ACK, body)?;
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..1_000_000 {
        let Some(message) = receive(socket, &mut buffer) else { continue };
        if word(message, 4).is_none_or(|kind| kind & 0xffff != NLMSG_ERROR) {
            continue;
        }
        return match word(message, 16).unwrap_or_default().cast_signed() {
            0 => Ok(()),
            refused if but.contains(&-refused) => Ok(()),
            refused => Err(format!("audit refuses request {kind} ({refused})")),
        };
    }
    Err(format!("audit never answered request {kind}"))
}

fn request(socket: c_int, kind: u32, flags: u32, body: &[u32]) -> Result<(), String> {
    let total = u32::try_from(16 + body.len() * 4).unwrap_or_default();
    let header = [total, kind | flags << 16, 0, 0];
    netlink::send(socket, &[&header, body].concat())
}
