//! No process is in the way: connections without an owner, files without a server, or nothing that is left to see.

use observer_common::socket::{
    STATE_CLOSE, STATE_CLOSE_WAIT, STATE_CLOSING, STATE_ESTABLISHED, STATE_FIN_WAIT1,
    STATE_FIN_WAIT2, STATE_LAST_ACK, STATE_LISTEN, STATE_TIME_WAIT,
};

use super::verdict::NO_SCAN;
use crate::{
    decode::Bind,
    diagnose::{answer::Answer, ports::FormerServer},
    enrich::{connections::Connection, path_file::PathFile},
    model::{
        Cause, CauseType, Confidence,
        human::{self, who},
    },
};

/// A unix socket's path: the file decides.
pub(super) fn unowned_path(bind: &Bind, answer: &Answer, past: Option<&FormerServer>) -> Cause {
    // A scan finds the end of a unix socket: a server may have been there when the kernel refused.
    let perhaps_served = past.filter(|past| past.until_ns >= bind.time_ns);
    match &answer.file {
        Some(PathFile::Socket(_, uid, made)) => Cause::new(
            CauseType::StaleSocketFile,
            "the socket file is there, but no process serves it".to_owned(),
            Confidence::Certain,
        )
        .because("no process has a socket that is bound to this file")
        .because(match made {
            Some(made) => format!("user {uid} owns it; it was made at {made:.0}"),
            None => format!("user {uid} owns it"),
        })
        .perhaps(perhaps_served)
        .with_remedy("remove the file; a server should unlink it before it binds")
        .left_by(past),
        Some(PathFile::Other(what)) => Cause::new(
            CauseType::Unknown,
            format!("that path is {what}, not a socket"),
            Confidence::Certain,
        )
        .because(format!("the path names {what}; bind creates the file itself and follows no link"))
        .with_remedy("move it away, or use another path"),
        Some(PathFile::Gone) => Cause::new(
            CauseType::Unknown,
            "there was a file at that path, and it is gone".to_owned(),
            Confidence::Possible,
        )
        .because("the path does not exist any more")
        .left_by(past),
        _ => Cause::new(
            CauseType::Unknown,
            "the file at that path could not be examined".to_owned(),
            Confidence::Possible,
        )
        .because(match answer.file {
            None => NO_SCAN,
            _ => "the process was gone, or only the process itself can follow that path",
        }),
    }
}

/// An address: connections that no process has open, or nothing.
pub(super) fn unowned(bind: &Bind, answer: &Answer, past: Option<&FormerServer>) -> Cause {
    if answer.is_none() {
        let summary = "no scan was made for this refusal";
        return Cause::new(CauseType::Unknown, summary, Confidence::Possible)
            .because(NO_SCAN)
            .left_by(past);
    }
    let Some(rows) = &answer.connections else {
        return unexplained(past)
            .because("the connections of its network namespace could not be read");
    };
    // A datagram socket is in state CLOSE and serves all the same.
    let serves = |row: &&Connection| {
        row.state == STATE_LISTEN || (row.state == STATE_CLOSE && bind.socket.datagram())
    };
    if let Some(row) = rows.iter().find(serves) {
        return held_by_no_process(row.inode).left_by(past);
    }
    let waiting = rows.iter().filter(|row| row.state == STATE_TIME_WAIT);
    let open = rows.iter().filter(|row| {
        matches!(
            row.state,
            STATE_FIN_WAIT1
                | STATE_FIN_WAIT2
                | STATE_CLOSE_WAIT
                | STATE_LAST_ACK
                | STATE_CLOSING
                | STATE_ESTABLISHED
                | STATE_CLOSE
        )
    });
    let count =
        |rows: &mut dyn Iterator<Item = &Connection>| rows.map(|row| row.count).sum::<u64>();
    let (waiting_count, open_count) = (count(&mut waiting.clone()), count(&mut { open }));
    let cause = if open_count > 0 {
        let mut cause = Cause::new(
            CauseType::Closing,
            format!(
                "nobody serves it; {} of a former server not fully closed yet",
                human::count(open_count, "connection")
            ),
            Confidence::Certain,
        )
        .because(format!(
            "the port has {} that no process holds",
            human::count(open_count, "connection")
        ))
        .with_remedy("wait, or set SO_REUSEADDR before bind");
        cause.connections = Some(open_count);
        cause
    } else if waiting_count > 0 {
        let last = waiting.map(|row| row.timer_seconds).fold(0.0, f64::max);
        let mut cause = Cause::new(
            CauseType::TimeWait,
            format!(
                "nobody serves it; {} in TIME_WAIT for at most {} more",
                human::count(waiting_count, "closed connection"),
                human::span(last)
            ),
            Confidence::Certain,
        )
        .because(format!(
            "no socket is in the way, only {} in TIME_WAIT",
            human::count(waiting_count, "connection")
        ))
        .with_remedy(&if bind.socket.reuseaddr() {
            format!(
                "wait {}: the former server should have set SO_REUSEADDR too",
                human::span(last)
            )
        } else {
            "set SO_REUSEADDR before bind, as servers should, or wait".to_owned()
        });
        cause.connections = Some(waiting_count);
        cause.free_in_seconds = Some(last);
        cause
    } else {
        return unexplained(past);
    };
    cause.left_by(past)
}

/// Nothing was found in the way.
fn unexplained(past: Option<&FormerServer>) -> Cause {
    Cause::new(
        CauseType::Unknown,
        "nothing holds the port any more".to_owned(),
        Confidence::Possible,
    )
    .because("neither a process nor a connection on this port was found after the refusal")
    .left_by(past)
}

/// A socket that serves without a process: the kernel has its own (VXLAN, `WireGuard`, NFS), without an inode.
fn held_by_no_process(inode: u64) -> Cause {
    let held = |summary: &str, evidence: String| {
        Cause::new(CauseType::Held, summary.to_owned(), Confidence::Certain).because(evidence)
    };
    if inode == 0 {
        return held(
            "the kernel itself holds it, no process does",
            "its socket has no inode: a tunnel, a network file system or another part of the kernel".to_owned(),
        );
    }
    held(
        "a socket that no process has open serves it",
        format!(
            "no descriptor leads to socket inode {inode}: it is being handed over between processes, or only io_uring knows it"
        ),
    )
}

/// Port 0 asks for any free one.
pub(super) fn no_port_left(answer: &Answer) -> Cause {
    let range = answer.port_range.as_deref().unwrap_or("unknown");
    Cause::new(
        CauseType::Unknown,
        format!("no free port is left in ip_local_port_range ({range})"),
        Confidence::Likely,
    )
    .because("the kernel answered EADDRINUSE for port 0, which asks for any free port")
    .with_remedy(
        "widen net.ipv4.ip_local_port_range, or end what holds so many ports (`observer ports`)",
    )
}

impl Cause {
    /// Another explanation: the former server was still there.
    fn perhaps(mut self, served: Option<&FormerServer>) -> Self {
        if let Some(past) = served {
            self.confidence = Confidence::Possible;
            let former = who(&past.process);
            let served =
                format!("or {former} still served it at the refusal and stopped before the scan");
            self.evidence.push(served.into());
        }
        self
    }
}
