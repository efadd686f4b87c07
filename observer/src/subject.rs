//! What `observer why` is asked about.
//!
//! **Invariant:** the vocabulary of [`crate::model`] only; no I/O.

use std::{fmt, str::FromStr};

use crate::model::{Body, Event, IncidentEvent, Process, Protocol, Socket};

/// A port, a process, a unit or a socket path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A port, of one protocol or of any.
    Port(Option<Protocol>, u16),
    /// A process id.
    Pid(u32),
    /// A systemd unit.
    Unit(String),
    /// A unix socket's path, or an abstract name that begins with `@`.
    Path(String),
}

/// What can be asked about, for whoever asked otherwise.
const FORMS: &str = "not something to ask about: give a port (:8080, 8080, tcp:8080, udp:53), a process (pid:2211), \
a unit (shop.service), or a socket's path (/run/php/fpm.sock, @name)";

/// Endings of systemd's units.
const UNITS: [&str; 11] = [
    ".service",
    ".socket",
    ".scope",
    ".slice",
    ".timer",
    ".target",
    ".mount",
    ".automount",
    ".path",
    ".swap",
    ".device",
];

impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_path = text.starts_with('/') || text.starts_with('@');
        if is_path && text.len() > 1 {
            return Ok(Self::Path(text.to_owned()));
        }
        if UNITS.iter().any(|ending| text.ends_with(ending) && text.len() > ending.len()) {
            return Ok(Self::Unit(text.to_owned()));
        }
        if let Some(pid) = text.strip_prefix("pid:") {
            return number(pid).filter(|pid| *pid > 0).map(Self::Pid).ok_or(FORMS);
        }
        let (protocol, port) = match text.split_once(':') {
            None => (None, text),
            Some(("", port)) => (None, port),
            // MPTCP shares the ports of TCP.
            Some(("tcp" | "mptcp", port)) => (Some(Protocol::Tcp), port),
            Some(("udp", port)) => (Some(Protocol::Udp), port),
            Some(_) => return Err(FORMS),
        };
        let port = number(port).filter(|port| *port > 0).and_then(|port| u16::try_from(port).ok());
        port.map(|port| Self::Port(protocol, port)).ok_or(FORMS)
    }
}

/// Digits only: no sign, no space.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl Subject {
    /// Whether an incident concerns it.
    #[must_use]
    pub fn matches(&self, incident: &IncidentEvent) -> bool {
        match self {
            Self::Pid(pid) => incident.pids.contains(pid),
            Self::Unit(unit) => incident.units.contains(unit),
            Self::Port(..) | Self::Path(_) => {
                incident.sockets.iter().any(|socket| self.is_socket(socket))
            }
        }
    }

    /// Whether that happened to it: its death, its refusal, its OOM kill.
    #[must_use]
    pub fn met(&self, event: &Event) -> bool {
        match &event.body {
            Body::Exit(exit) => {
                self.is_process(&exit.process)
                    || exit.released.iter().any(|socket| self.is_socket(socket))
            }
            Body::Oom(oom) => self.is_process(&oom.victim),
            Body::Bind(bind) => self.is_process(&bind.process) || self.is_socket(&bind.socket),
            _ => false,
        }
    }

    fn is_process(&self, process: &Process) -> bool {
        match self {
            Self::Pid(pid) => process.pid == *pid,
            Self::Unit(unit) => {
                process.unit.as_deref() == Some(unit)
                    || process.whole_unit().is_some_and(|whole| whole == *unit)
            }
            Self::Port(..) | Self::Path(_) => false,
        }
    }

    /// Whether it is that socket.
    #[must_use]
    pub fn is_socket(&self, socket: &Socket) -> bool {
        match self {
            Self::Port(protocol, port) => {
                socket.port == Some(*port)
                    && protocol.is_none_or(|protocol| protocol == socket.protocol)
            }
            Self::Path(path) => socket.path.as_ref() == Some(path),
            Self::Pid(_) | Self::Unit(_) => false,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(Some(Protocol::Udp), port) => write!(f, "udp:{port}"),
            Self::Port(Some(_), port) => write!(f, "tcp:{port}"),
            Self::Port(None, port) => write!(f, ":{port}"),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Unit(name) | Self::Path(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn what_can_be_asked_about() {
        for (asked, shown) in [
            (":8080", ":8080"),
            ("8080", ":8080"),
            ("tcp:8080", "tcp:8080"),
            ("mptcp:8080", "tcp:8080"),
            ("udp:53", "udp:53"),
            ("pid:2211", "pid:2211"),
            ("shop.service", "shop.service"),
            ("docker-0123.scope", "docker-0123.scope"),
            ("panel.slice", "panel.slice"),
            ("/run/php/fpm.sock", "/run/php/fpm.sock"),
            ("/run/x.service", "/run/x.service"),
            ("@abstract", "@abstract"),
        ] {
            let subject: Subject = asked.parse().expect(asked);
            assert_eq!(subject.to_string(), shown);
        }
        assert!(matches!("/run/x.service".parse(), Ok(Subject::Path(_))));
    }

    #[test]
    fn everything_else_names_the_forms() {
        for wrong in [
            "",
            ":",
            "0",
            ":0",
            "65536",
            "+80",
            "-1",
            " 80",
            "sctp:80",
            "tcp:",
            "tcp:http",
            "pid:",
            "pid:0",
            "pid:x",
            "node",
            ".service",
            "/",
            "@",
            "127.0.0.1:80",
            "tcp:80:80",
        ] {
            let error = wrong.parse::<Subject>().expect_err(wrong);
            assert!(error.contains("tcp:8080") && error.contains("pid:2211"), "{wrong}");
        }
    }
}
