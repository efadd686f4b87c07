//! Events about what was lost.

use super::Pipeline;
use crate::{
    kernel::loss::Loss,
    model::{Body, Event, LossEvent, Time},
};

impl Pipeline {
    /// Records that the kernel side could not deliver.
    pub(in crate::engine) fn loss(&mut self, loss: &Loss) -> Event {
        let clock = &self.enricher.clock;
        let (from_ns, to_ns) = loss.span_ns;
        let event = LossEvent {
            lost: [(loss.kind.clone(), loss.count)].into(),
            from: Time(clock.time(from_ns)),
            to: Time(clock.time(to_ns)),
            reason: loss.reason.clone(),
            at_most: loss.at_most,
        };
        self.numbered(to_ns, Body::Loss(event))
    }

    /// An event about what was lost behind the engine.
    pub(in crate::engine) fn lost(&mut self, loss: LossEvent) -> Event {
        let time = loss.to;
        Event { time, ..self.numbered(0, Body::Loss(loss)) }
    }

    /// A loss of the records that could not be decoded since the last time.
    pub(in crate::engine) fn undecodable(&mut self, span_ns: (u64, u64)) -> Option<Event> {
        let count = std::mem::take(&mut self.undecodable);
        let (kind, reason) = ("unknown".to_owned(), "they could not be decoded".to_owned());
        (count > 0).then(|| self.loss(&Loss { kind, count, span_ns, reason, at_most: false }))
    }
}
