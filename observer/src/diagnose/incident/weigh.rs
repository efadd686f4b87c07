//! Which deaths are worth an incident.

use super::keys::unit;
use crate::model::{CauseType, ExitEvent, ReleaseEvent};

/// How a death weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// It ended with code 0.
    Ordinary,
    /// Somebody asked for it.
    Asked,
    /// It ended by itself with another code, or as programs often do: half of all shell scripts live by that.
    Failed,
    /// Nobody asked, and nobody expects it.
    Crashed,
}

const SIGHUP: u32 = 1;
const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

/// How a death weighs.
pub(super) fn weigh(exit: &ExitEvent) -> Weight {
    use CauseType as C;
    let cause = &exit.cause;
    let signal = exit.status.signal.unwrap_or(0);
    let mild = matches!(signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM);
    // systemd kills only what it stops.
    let manager = cause.sender.as_ref().is_some_and(|sender| sender.pid == 1);
    match cause.cause_type {
        C::ExitCode if exit.status.code == Some(0) => Weight::Ordinary,
        C::ExitCode | C::Killed if cause.prompted_by.is_some() => Weight::Asked,
        C::Killed if mild || manager => Weight::Asked,
        C::Kernel if mild => Weight::Asked,
        // The kernel kills all of a container whose first process ended.
        C::Kernel if signal == SIGKILL => Weight::Failed,
        C::ExitCode | C::Pipe => Weight::Failed,
        _ => Weight::Crashed,
    }
}

/// Whether a death opens an incident by itself.
pub(super) fn opens(exit: &ExitEvent, weight: Weight) -> bool {
    match weight {
        Weight::Crashed => true,
        // The main process of a service, or whoever served a port.
        Weight::Failed => {
            !exit.released.is_empty()
                || (exit.process.ppid == Some(1) && unit(&exit.process).is_some())
        }
        Weight::Asked | Weight::Ordinary => false,
    }
}

/// Since when, at the latest, nobody serves what was released: a release that was found late may be older.
pub(super) fn is_late(release: &ReleaseEvent) -> bool {
    release.late_seconds.is_some_and(|late| late > 0.0)
}
