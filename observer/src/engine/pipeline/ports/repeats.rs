//! Refusals that come again: the kernel side tells the first and counts the others. Here the counts become events.
//!
//! A refusal that is told brings the count along; those that nobody was told of come with the next count, and stand in one
//! event, made from the last refusal of the key. So the sum over one and `repeats` of all events is the number of refusals.
//!
//! **Bounded:** [`KEYS`] keys, of which the kernel side has half; each of those with the last record, which is 3 KiB at most.

use std::collections::HashMap;

use observer_common::socket::REFUSALS;

use crate::decode::{Bind, RepeatCount, RepeatKey};

/// As many as the kernel side has, and as many that it gave up.
const KEYS: usize = 2 * REFUSALS as usize;

/// What was emitted of each key.
#[derive(Debug, Default)]
pub(super) struct RepeatTracker(HashMap<RepeatKey, Told>);

#[derive(Debug)]
struct Told {
    counted: u64,
    /// The last refusal; `None` when none of them came through.
    last: Option<Box<Bind>>,
    /// The kernel side gave the key up: it counts from 0 the next time. A record of before may still come.
    is_over: bool,
}

impl RepeatTracker {
    /// A refusal came: says in it how many others there were since the last event of its key.
    pub(super) fn told(&mut self, bind: &mut Bind) {
        let Some(key) = bind.repeat_key() else { return };
        if !self.has_room_for(&key) {
            // Its counts come as those of an unknown key.
            return;
        }
        let told = self.0.entry(key).or_insert(Told { counted: 0, last: None, is_over: false });
        let counted = bind.record.counted;
        if told.is_over && counted < told.counted {
            told.counted = 0;
        }
        told.is_over = false;
        // Records of two processors may come in the wrong order.
        bind.repeats = counted.saturating_sub(told.counted);
        told.counted = told.counted.max(counted);
        told.last = Some(Box::new(bind.detached()));
    }

    fn has_room_for(&mut self, key: &RepeatKey) -> bool {
        if self.0.len() >= KEYS && !self.0.contains_key(key) {
            self.0.retain(|_, told| !told.is_over);
        }
        self.0.len() < KEYS || self.0.contains_key(key)
    }

    /// Counts came: what was not told of yet becomes one refusal a key. And how many refusals belong to none.
    pub(super) fn counted(&mut self, counts: &[RepeatCount]) -> (Vec<Bind>, u64) {
        let (mut refused, mut unknown) = (Vec::new(), 0);
        for count in counts {
            if !self.has_room_for(&count.key) {
                // As many keys as the kernel side has are known: this one is known the next time, or not needed any more.
                unknown += count.counted;
                continue;
            }
            let none = Told { counted: 0, last: None, is_over: false };
            let told = self.0.entry(count.key).or_insert(none);
            let before = if told.is_over { 0 } else { told.counted };
            let new = count.counted.saturating_sub(before);
            match &told.last {
                Some(last) if new > 0 => {
                    let mut bind = Bind::clone(last);
                    bind.time_ns = count.last_ns;
                    bind.repeats = new - 1;
                    refused.push(bind);
                }
                Some(_) => {}
                None => unknown += new,
            }
            told.counted = before.max(count.counted);
            if count.is_over {
                (told.is_over, told.last) = (true, None);
            }
        }
        (refused, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEYS, RepeatTracker};
    use crate::decode::{
        Bind, KernelEvent, RepeatCount, decode,
        samples::{SECOND, refused_bytes},
    };

    /// A refusal that was told when so many had been counted.
    fn refused(counted: u64, port: u16) -> Box<Bind> {
        let Ok(KernelEvent::Bind(mut bind)) = decode(&refused_bytes(20, SECOND)) else {
            panic!("a bind");
        };
        bind.record.counted = counted;
        bind.record.key.port = port;
        bind
    }

    fn count(counted: u64, port: u16, is_over: bool) -> RepeatCount {
        let key = refused(0, port).repeat_key().expect("a key");
        RepeatCount { key, counted, last_ns: 2 * SECOND, is_over }
    }

    #[test]
    fn every_refusal_is_in_one_event() {
        let mut tracker = RepeatTracker::default();
        let mut told = |counted| {
            let mut bind = refused(counted, 80);
            tracker.told(&mut bind);
            bind.repeats
        };
        assert_eq!([told(0), told(0), told(5), told(4), told(9)], [0, 0, 5, 0, 4]);
        let (events, unknown) = tracker.counted(&[count(9, 80, false)]);
        assert!(events.is_empty() && unknown == 0, "all of them are told");
        let (events, _) = tracker.counted(&[count(12, 80, false)]);
        assert_eq!((events.len(), events[0].repeats, events[0].time_ns), (1, 2, 2 * SECOND));
        // The key is given up: a record of before comes late, and then the next count begins anew.
        let (events, _) = tracker.counted(&[count(13, 80, true)]);
        assert_eq!((events.len(), events[0].repeats), (1, 0));
        for (counted, repeats) in [(13, 0), (0, 0)] {
            tracker.counted(&[count(13, 80, true)]);
            let mut again = refused(counted, 80);
            tracker.told(&mut again);
            assert_eq!(again.repeats, repeats);
        }
        assert_eq!(tracker.counted(&[count(1, 80, false)]).0.len(), 1);
    }

    #[test]
    fn as_many_keys_as_the_kernel_side_has() {
        let mut tracker = RepeatTracker::default();
        for port in 1..=3000 {
            tracker.told(&mut refused(0, port));
        }
        assert_eq!(tracker.0.len(), KEYS);
        // Of those that the kernel side gave up, nothing is kept when there is no room.
        tracker.counted(&[count(0, 7, true)]);
        tracker.told(&mut refused(0, 4000));
        assert_eq!((tracker.0.len(), tracker.counted(&[count(5, 4000, false)]).1), (KEYS, 0));
    }

    #[test]
    fn what_is_counted_for_nobody_is_lost() {
        let mut tracker = RepeatTracker::default();
        assert_eq!(tracker.counted(&[count(7, 80, false), count(1, 81, true)]).1, 8);
        assert_eq!(tracker.counted(&[count(9, 80, false)]).1, 2);
        // Once a record comes through, its key is known.
        let mut bind = refused(9, 80);
        tracker.told(&mut bind);
        assert_eq!(bind.repeats, 0);
        assert_eq!(tracker.counted(&[count(10, 80, false)]).0.len(), 1);
    }

    #[test]
    fn a_refusal_without_a_key_stands_for_itself() {
        let mut tracker = RepeatTracker::default();
        let mut bind = refused(3, 0);
        assert!(bind.repeat_key().is_none());
        tracker.told(&mut bind);
        assert_eq!(bind.repeats, 0);
    }
}
