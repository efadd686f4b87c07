//! A capture as the source of inputs, in place of the kernel. Needs no root.

use super::{CodeZero, Engine, Input, Setup, capture::Capture};
use crate::{
    enrich::Users,
    kernel::{clock::Clock, hooks},
    model::Event,
};

/// Every event that the live run emitted, with the same numbers.
#[must_use]
pub fn events(capture: &Capture, users: Users) -> Vec<Event> {
    let header = &capture.header;
    let attached =
        |program: &str| header.session.hooks.iter().any(|h| h.attached && h.program == program);
    let binds = [hooks::BINDS[0], hooks::BIND_CALLS[0]].iter().any(|h| attached(h.program));
    let mut engine = Engine::new(Setup {
        host: header.host(),
        clock: Clock::fixed(header.boot_epoch_ns.into()),
        users,
        code_zero: if header.exits_all { CodeZero::Unnumbered } else { CodeZero::Ignored },
        ports: binds.then(|| !hooks::tell_servers(attached)),
        flood: None,
    });
    let mut events = vec![engine.session(header.session.clone(), header.begin_ns)];
    engine.wants_scan(header.begin_ns);
    let mut end_ns = header.begin_ns;
    for (now_ns, input) in &capture.inputs {
        engine.push(*now_ns, input.clone(), |event| events.push(event));
        engine.wants_scan(*now_ns);
        end_ns = *now_ns;
    }
    if capture.cut_at.is_some() {
        // What waited for a scan that was cut off is emitted without.
        let cut = Input::Scan(Err("the capture is cut off".to_owned()));
        engine.push(end_ns, cut, |event| events.push(event));
    }
    engine.finish(|event| events.push(event));
    events
}
