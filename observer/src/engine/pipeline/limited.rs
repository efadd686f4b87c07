//! From an event to its number, or into the counts of its flood.

use super::{
    Pipeline,
    flood::{Admission, FloodReport},
};
use crate::model::{Body, Event, SCHEMA, Time};

impl Pipeline {
    /// Tells an event in full, or counts it where its origin has had too many. `served`: see [`super::flood::Floods::admit`].
    pub(super) fn limited(
        &mut self,
        time_ns: u64,
        body: Body,
        served: bool,
        emit: &mut dyn FnMut(Event),
    ) {
        let now_ns = self.now_ns;
        let admission = match &mut self.floods {
            Some(floods) => floods.admit(&body, served, time_ns, now_ns),
            None => Admission::Always,
        };
        match admission {
            Admission::Always => emit(self.numbered(time_ns, body)),
            Admission::Told(slot) => {
                let event = self.numbered(time_ns, body);
                if let Some(floods) = &mut self.floods {
                    floods.told(&slot, event.number());
                }
                emit(event);
            }
            Admission::Counted(slot) => {
                let event = self.unnumbered(time_ns, body);
                if let Some(floods) = &mut self.floods {
                    floods.count(&slot, event, now_ns).for_each(emit);
                }
            }
        }
    }

    /// Tells what is due of floods.
    pub(super) fn report_floods(&mut self, reports: Vec<FloodReport>, emit: &mut dyn FnMut(Event)) {
        for FloodReport { last, counted, slot } in reports {
            let example = last.map(|last| {
                self.seq += 1;
                emit(Event { seq: Some(self.seq), ..last });
                self.seq
            });
            if let (Some(seq), Some(floods)) = (example, &mut self.floods) {
                floods.told(&slot, seq);
            }
            if let Some(mut flood) = counted {
                flood.example = example.or(flood.example);
                flood.user = flood.uid.and_then(|uid| self.enricher.users.name(uid));
                if flood.uid.is_some() && flood.user.is_none() {
                    flood.missing.insert("user".into(), self.enricher.users.absence().into());
                }
                let time = flood.to;
                let event = self.numbered(0, Body::Flood(Box::new(flood)));
                emit(Event { time, ..event });
            }
        }
    }

    /// An event with the next number.
    pub(super) fn numbered(&mut self, time_ns: u64, body: Body) -> Event {
        self.seq += 1;
        Event { seq: Some(self.seq), ..self.unnumbered(time_ns, body) }
    }

    /// An event that is not stored.
    pub(super) fn unnumbered(&self, time_ns: u64, body: Body) -> Event {
        Event {
            schema: SCHEMA,
            seq: None,
            time: Time(self.enricher.clock.time(time_ns)),
            boot_id: self.host.boot_id.clone(),
            host: self.host.name.clone(),
            body,
        }
    }
}
