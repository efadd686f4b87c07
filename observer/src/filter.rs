//! Filters: the same words wherever events are shown.
//!
//! **Invariant:** the vocabulary of [`crate::model`] only; no I/O.

use clap::builder::NonEmptyStringValueParser;
use jiff::{Timestamp, ToSpan, Zoned};
use wildmatch::WildMatch;

use crate::error::Failure;
use crate::model::{Body, Event, FloodEvent, IncidentEvent, Kind, Process, Socket};

/// What to show. Values of one filter are alternatives; different filters must all hold.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct Filter {
    /// Only events of these kinds
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub kind: Vec<Kind>,
    /// Only processes of these systemd units
    ///
    /// `*` and `?` match, `.service` may be left out.
    #[arg(long, value_delimiter = ',', value_name = "UNIT", value_parser = NonEmptyStringValueParser::new())]
    pub unit: Vec<String>,
    /// Only processes of these names; `*` and `?` match
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub comm: Vec<String>,
    /// Only these process ids
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub pid: Vec<u32>,
    /// Only events about these ports
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    pub port: Vec<u16>,
    /// Only processes of these users, by name or id
    #[arg(long, value_delimiter = ',', value_name = "USER", value_parser = NonEmptyStringValueParser::new())]
    pub user: Vec<String>,
    /// Only processes in these containers, by id or name
    ///
    /// The beginning of the id is enough.
    #[arg(long, value_delimiter = ',', value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub container: Vec<String>,
    /// Only events since then: RFC 3339, `10m`, `2h`, or `yesterday`
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<Timestamp>,
    /// Only events until then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether to show an event. A loss and the beginning of a session are always shown: without them a reader can't
    /// know what is missing.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        if let Body::Incident(incident) = &event.body {
            return self.span(event) && self.incident(incident);
        }
        if matches!(event.body, Body::Session(_) | Body::Loss(_)) {
            return true;
        }
        self.span(event) && self.ports(&event.body) && self.processes(&event.body)
    }

    /// Whether one of an event's processes is wanted.
    fn processes(&self, body: &Body) -> bool {
        match body {
            Body::Exit(exit) => self.process(&exit.process),
            Body::Oom(oom) => self.process(&oom.victim) || self.process(&oom.trigger),
            Body::Bind(bind) => {
                self.process(&bind.process) || bind.holders.iter().any(|h| self.process(&h.process))
            }
            Body::Listen(listen) => self.process(&listen.process),
            Body::Release(release) => match &release.process {
                Some(process) => self.process(process),
                None => self.process(&Process::default()),
            },
            Body::Flood(flood) => self.process(&origin(flood)),
            Body::Incident(_) | Body::Loss(_) | Body::Session(_) => true,
        }
    }

    /// Whether the kind and the time of an event are wanted.
    fn span(&self, event: &Event) -> bool {
        (self.kind.is_empty() || self.kind.contains(&event.body.kind())) && self.in_time(event)
    }

    /// Whether an incident concerns what is wanted. It names ports, units and process ids, and no more of a process: a filter
    /// by anything else leaves it out.
    fn incident(&self, incident: &IncidentEvent) -> bool {
        let port = |socket: &Socket| socket.port.is_some_and(|port| self.port.contains(&port));
        (self.port.is_empty() || incident.sockets.iter().any(port))
            && (self.pid.is_empty() || incident.pids.iter().any(|pid| self.pid.contains(pid)))
            && (self.unit.is_empty() || incident.units.iter().any(|unit| self.is_unit(unit)))
            && self.comm.is_empty()
            && self.user.is_empty()
            && self.container.is_empty()
    }

    /// A unit of a user's manager is named with that manager: anybody may call his own `nginx.service`.
    fn in_unit(&self, process: &Process) -> bool {
        process.unit.as_deref().is_some_and(|unit| self.is_unit(unit))
            || process.whole_unit().is_some_and(|unit| self.is_unit(&unit))
    }

    fn is_unit(&self, unit: &str) -> bool {
        self.unit.iter().any(|wanted| {
            glob(wanted, unit) || unit.strip_suffix(".service").is_some_and(|u| glob(wanted, u))
        })
    }

    /// Whether an event lies between `since` and `until`.
    #[must_use]
    pub fn in_time(&self, event: &Event) -> bool {
        let time = event.time.0;
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }

    /// Whether every event is wanted that lies in its time.
    #[must_use]
    pub fn is_about_time_only(&self) -> bool {
        self.kind.is_empty()
            && self.pid.is_empty()
            && self.port.is_empty()
            && [&self.unit, &self.comm, &self.user, &self.container].iter().all(|f| f.is_empty())
    }

    /// Fails for spans of time that nothing can lie in.
    pub fn check(&self) -> anyhow::Result<()> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since > until
        {
            let text = "--since lies after --until: nothing can happen in between";
            return Err(Failure::Usage(text.to_owned()).into());
        }
        Ok(())
    }

    fn ports(&self, body: &Body) -> bool {
        let is_wanted = |socket: &Socket| socket.port.is_some_and(|port| self.port.contains(&port));
        self.port.is_empty()
            || match body {
                Body::Exit(exit) => exit.released.iter().any(is_wanted),
                Body::Bind(bind) => is_wanted(&bind.socket),
                Body::Listen(listen) => is_wanted(&listen.socket),
                Body::Release(release) => is_wanted(&release.socket),
                Body::Oom(_)
                | Body::Incident(_)
                | Body::Flood(_)
                | Body::Loss(_)
                | Body::Session(_) => false,
            }
    }

    /// Whether a process is one of those that are wanted.
    #[must_use]
    pub fn process(&self, process: &Process) -> bool {
        let any = |list: &[String], matches: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|wanted| matches(wanted))
        };
        (self.pid.is_empty() || self.pid.contains(&process.pid))
            && any(&self.comm, &|wanted| {
                process.comm.as_deref().is_some_and(|comm| glob(wanted, comm))
            })
            && (self.unit.is_empty() || self.in_unit(process))
            && any(&self.user, &|wanted| {
                process.user.as_deref() == Some(wanted)
                    || process.uid.is_some_and(|uid| wanted.parse() == Ok(uid))
            })
            && any(&self.container, &|wanted| {
                // People paste the long id too, of which only the beginning is kept.
                process.container.as_deref().is_some_and(|id| {
                    !wanted.is_empty()
                        && (id.starts_with(wanted) || (id.len() >= 12 && wanted.starts_with(id)))
                })
            })
    }
}

/// What all processes of a flood have in common.
fn origin(flood: &FloodEvent) -> Process {
    Process {
        uid: flood.uid,
        user: flood.user.clone(),
        unit: flood.unit.clone(),
        container: flood.container.clone(),
        ..Process::default()
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    WildMatch::new(pattern).matches(text)
}

/// A moment: RFC 3339, a span that lies back from now, or `yesterday`, `today`, `now`.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    parse_time_at(text, &Zoned::now())
}

fn parse_time_at(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let day = |days: i64| {
        let day = now.checked_sub(days.days()).and_then(|then| then.start_of_day());
        day.map(|day| day.timestamp()).map_err(|error| error.to_string())
    };
    match text {
        "now" => return Ok(now.timestamp()),
        "today" => return day(0),
        "yesterday" => return day(1),
        _ => {}
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let back: jiff::Span = text.trim_end_matches(" ago").parse().map_err(|_error| {
        "not a time: give RFC 3339 (2026-11-22T14:32:15Z), a span such as 10m or 2h, or yesterday".to_owned()
    })?;
    let then = now.checked_sub(back).map_err(|error| error.to_string())?;
    Ok(then.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::{Zoned, civil::date, tz::TimeZone};
    use serde_json::json;

    use super::{Filter, parse_time_at};
    use crate::model::{Event, Kind, Process};

    fn now() -> Zoned {
        date(2026, 11, 22).at(14, 32, 15, 0).to_zoned(TimeZone::UTC).expect("a time")
    }

    #[test]
    fn times() {
        for (text, time) in [
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:00:00+02:00", "2026-11-22T08:00:00Z"),
            ("10m", "2026-11-22T14:22:15Z"),
            ("2h", "2026-11-22T12:32:15Z"),
            ("1d", "2026-11-21T14:32:15Z"),
            ("yesterday", "2026-11-21T00:00:00Z"),
            ("today", "2026-11-22T00:00:00Z"),
        ] {
            assert_eq!(
                parse_time_at(text, &now()).map(|t| t.to_string()),
                Ok(time.to_owned()),
                "{text}"
            );
        }
        assert!(parse_time_at("soon", &now()).is_err());
    }

    #[test]
    fn incidents() {
        let event = json!({
            "schema": 1, "seq": 9, "time": "2026-11-22T14:32:15Z", "boot_id": "boot", "host": "shop",
            "kind": "incident", "subject": "tcp:8080", "summary": "", "open": true,
            "from": "2026-11-22T14:32:15Z", "to": "2026-11-22T14:32:16Z", "events": [7, 8],
            "sentences": [], "units": ["shop.service"], "pids": [2211],
            "sockets": [{"protocol": "tcp", "address": "127.0.0.1", "port": 8080}],
        });
        let event: Event = serde_json::from_value(event).expect("an event");
        let filter = |set: fn(&mut Filter)| {
            let mut filter = Filter::default();
            set(&mut filter);
            filter.matches(&event)
        };
        assert!(filter(|_| ()));
        assert!(filter(|f| f.kind = vec![Kind::Incident]));
        assert!(!filter(|f| f.kind = vec![Kind::Exit]));
        assert!(filter(|f| f.port = vec![8080]));
        assert!(!filter(|f| f.port = vec![80]));
        assert!(filter(|f| f.unit = vec!["shop".into()]));
        assert!(!filter(|f| f.unit = vec!["mail".into()]));
        assert!(filter(|f| f.pid = vec![2211]));
        assert!(!filter(|f| f.pid = vec![1]));
        assert!(!filter(|f| f.comm = vec!["node".into()]));
    }

    #[test]
    fn floods() {
        let event = json!({
            "schema": 2, "seq": 9, "time": "2026-11-22T14:32:15Z", "boot_id": "boot", "host": "shop",
            "kind": "flood", "of": "exit", "uid": 33, "user": "www-data", "unit": "shop.service",
            "count": 7, "from": "2026-11-22T14:32:14Z", "to": "2026-11-22T14:32:15Z",
        });
        let event: Event = serde_json::from_value(event).expect("an event");
        let filter = |set: fn(&mut Filter)| {
            let mut filter = Filter::default();
            set(&mut filter);
            filter.matches(&event)
        };
        assert!(filter(|f| f.kind = vec![Kind::Flood]) && !filter(|f| f.kind = vec![Kind::Exit]));
        assert!(filter(|f| f.user = vec!["33".into()]) && !filter(|f| f.user = vec!["0".into()]));
        assert!(filter(|f| f.unit = vec!["shop".into()]));
        assert!(!filter(|f| f.comm = vec!["node".into()]) && !filter(|f| f.port = vec![80]));
    }

    #[test]
    fn processes() {
        let process = Process {
            pid: 7,
            uid: Some(33),
            user: Some("www-data".into()),
            comm: Some("node".into()),
            unit: Some("shop.service".into()),
            container: Some("0123456789ab".into()),
            ..Process::default()
        };
        let filter = |set: fn(&mut Filter)| {
            let mut filter = Filter::default();
            set(&mut filter);
            filter.process(&process)
        };
        assert!(filter(|_| ()));
        assert!(filter(|f| f.unit = vec!["shop".into()]));
        assert!(filter(|f| f.unit = vec!["sh*".into()]));
        assert!(!filter(|f| f.unit = vec!["sho".into()]));
        assert!(filter(|f| f.user = vec!["33".into()]));
        assert!(filter(|f| f.comm = vec!["nginx".into(), "node".into()]));
        assert!(!filter(|f| {
            f.comm = vec!["node".into()];
            f.pid = vec![8];
        }));
        assert!(filter(|f| f.container = vec!["0123".into()]));
        assert!(!filter(|f| f.container = vec![String::new()]));
    }
}
