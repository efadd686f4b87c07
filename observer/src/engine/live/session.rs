//! The first event of a run and of each file: what is watched, and how.

use super::Live;
use crate::{
    kernel::{clock, preflight},
    model::{After, ClockInfo, Event, HookInfo, SessionEvent, Time},
};

impl Live {
    /// The first event: what is watched, and how. `after`: the store that this session goes on with.
    pub fn session(&mut self, after: Option<After>) -> Event {
        let now = clock::boot_ns();
        self.losses.begin(now);
        self.start_scan(now);
        let after = self.after_all_numbers(after);
        let (resumed, since) = self.resumed();
        let session = SessionEvent { after, resumed, since, ..self.session_info() };
        let session = self.engine.session(session, now);
        self.begin_ledger();
        session
    }

    /// The first event of another file of the same session.
    pub fn session_again(&mut self) -> Event {
        let session = self.session_info();
        self.engine.session(session, clock::boot_ns())
    }

    pub(super) fn session_info(&self) -> SessionEvent {
        let hooks = self.kernel.attached.iter().map(|attached| HookInfo {
            program: attached.hook.program.to_owned(),
            hook: attached.hook.attach.to_string(),
            attached: attached.refused.is_none(),
            refused: attached.refused.clone(),
        });
        SessionEvent {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: preflight::release(),
            hooks: hooks.collect(),
            clock: ClockInfo {
                source: "CLOCK_BOOTTIME".to_owned(),
                boot_time: Time(self.engine.clock().time(0)),
            },
            after: None,
            resumed: false,
            since: None,
        }
    }
}
