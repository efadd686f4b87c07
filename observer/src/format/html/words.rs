//! Times, names and texts on the page.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::{
    format::text,
    model::{Process, Socket, Time},
};

/// Longest text, in characters.
const LONGEST: usize = 500;

/// A text that is not too long.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Shows times as the clock on the wall did.
#[derive(Clone, Debug)]
pub struct PageClock(TimeZone);

impl PageClock {
    /// In that time zone.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self(zone)
    }

    fn shown(&self, time: Time, form: &str) -> String {
        time.0.to_zoned(self.0.clone()).strftime(form).to_string()
    }

    /// `2026-11-22 14:32:15 +01:00`.
    pub(super) fn date(&self, time: Time) -> String {
        self.shown(time, "%Y-%m-%d %H:%M:%S %:z")
    }

    /// `14:32:15`, or the day too, for an axis that is so many seconds long.
    pub(super) fn tick(&self, time: Time, seconds: f64) -> String {
        let form = match seconds {
            s if s > 2.0 * 86_400.0 => "%m-%d %H:%M",
            s if s > 20.0 => "%H:%M:%S",
            _ => "%H:%M:%S%.3f",
        };
        self.shown(time, form)
    }

    /// The time, for people and for programs.
    pub(super) fn mark(&self, time: Time) -> Markup {
        html! { time datetime=(time.to_string()) { (self.shown(time, "%Y-%m-%d %H:%M:%S%.3f")) } }
    }
}

/// `node 2211`.
pub(super) fn who(process: &Process) -> String {
    cut(&format!("{} {}", process.comm.as_deref().unwrap_or("?"), process.pid))
}

/// The same with its unit or container.
pub(super) fn who_and_where(process: &Process) -> String {
    cut(&text::who(process))
}

/// The unit or the container, or else the cgroup.
pub(super) fn place(process: &Process) -> String {
    let place = process.place().or(process.cgroup.as_deref().map(Cow::from));
    cut(&place.unwrap_or_default())
}

/// A socket's name.
pub(super) fn socket(socket: &Socket) -> String {
    cut(&socket.name())
}

/// Name and value, where there is one.
pub(super) fn pair(name: &str, value: Option<&str>) -> Markup {
    html! { @if let Some(value) = value { dt { (name) } dd { (cut(value)) } } }
}

/// What a process ran, and as whom.
pub(super) fn process(process: &Process) -> Markup {
    let user = process.user_or_uid();
    let parent = process.parent.as_ref().map(|p| format!("{} {}", p.comm, p.pid));
    html! {
        (pair("command", text::command(process).as_deref()))
        (pair("program", process.exe.as_deref()))
        (pair("user", user.as_deref()))
        (pair("child of", parent.as_deref()))
        (pair("cgroup", process.cgroup.as_deref()))
    }
}

/// An amount of memory.
pub(super) fn size(bytes: Option<u64>) -> String {
    bytes.map(crate::model::human::size).unwrap_or_default()
}
