//! Numbers of events in a stream that has more of them than the record.
//!
//! `seq` grows by one in the record. Whoever listens live may get events that are not recorded: ordinary deaths, stories that
//! still grow. In such a stream every later event has a higher number, and what refers to an event does too.

use std::{collections::VecDeque, sync::Arc};

use crate::model::{Body, Event};

/// Numbers of one stream.
#[derive(Debug, Default)]
pub struct Numbering {
    /// How many events it had that the record has not.
    extra: u64,
    /// The last number in the record.
    recorded: u64,
    /// From which number in the record on how many were added: the newest last.
    marks: VecDeque<(u64, u64)>,
}

/// Events refer back by a minute or so: by then a storm of ordinary deaths has made many marks.
const MARKS: usize = 16 * 1024;

impl Numbering {
    /// Goes on after the record's number `recorded`.
    #[must_use]
    pub fn after(recorded: u64) -> Self {
        Self { recorded, ..Self::default() }
    }

    /// The number of the last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.recorded + self.extra
    }

    /// Whether the stream has the record's own numbers.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.extra == 0
    }

    /// Gives an event its number in this stream. One that is not recorded has 0.
    pub fn number(&mut self, event: &mut Event) {
        if event.seq == 0 {
            self.extra += 1;
            if self.marks.back().is_none_or(|(from, _)| *from != self.recorded) {
                if self.marks.len() == MARKS {
                    self.marks.pop_front();
                }
                self.marks.push_back((self.recorded, self.extra));
            } else if let Some((_, extra)) = self.marks.back_mut() {
                *extra = self.extra;
            }
        } else {
            self.recorded = event.seq;
        }
        event.seq = self.last();
        if self.is_plain() {
            return;
        }
        match &mut event.body {
            Body::Exit(exit) => {
                // A copy of one's own only where something changes.
                if let Some(seq) = exit.cause.oom_seq {
                    Arc::make_mut(exit).cause.oom_seq = Some(self.here(seq));
                }
            }
            Body::Incident(incident) => {
                let sentences = incident.sentences.iter_mut().flat_map(|s| s.events.iter_mut());
                let refers = incident.events.iter_mut().chain(sentences);
                refers.for_each(|seq| *seq = self.here(*seq));
            }
            Body::Bind(_)
            | Body::Oom(_)
            | Body::Listen(_)
            | Body::Release(_)
            | Body::Loss(_)
            | Body::Session(_) => {}
        }
    }

    /// A number of the record, in this stream.
    fn here(&self, recorded: u64) -> u64 {
        let after = self.marks.iter().rev().find(|(from, _)| *from < recorded);
        recorded + after.map_or(0, |(_, extra)| *extra)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Numbering;
    use crate::model::{Body, Event, LossEvent, SCHEMA, Time};

    fn event(seq: u64) -> Event {
        let time = Time(jiff::Timestamp::UNIX_EPOCH);
        let loss = LossEvent {
            lost: BTreeMap::new(),
            from: time,
            to: time,
            reason: String::new(),
            at_most: false,
        };
        let body = Body::Loss(loss);
        Event { schema: SCHEMA, seq, time, boot_id: "".into(), host: "".into(), body }
    }

    #[test]
    fn no_gap_and_references_follow() {
        let mut numbering = Numbering::default();
        let mut numbers = Vec::new();
        for seq in [1, 2, 0, 0, 3, 0, 4] {
            let mut event = event(seq);
            numbering.number(&mut event);
            numbers.push(event.seq);
        }
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        let here: Vec<u64> = [1, 2, 3, 4].map(|seq| numbering.here(seq)).into();
        assert_eq!(here, [1, 2, 5, 7]);
    }
}
