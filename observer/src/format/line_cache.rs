//! Caches lines of deaths that are alike: the next one is the same text with other numbers in it.
//!
//! **Policy.** The key is the [`Shape`] of a death. A template is made from what the serializer makes of that death with numbers
//! that no death has: wherever one of them shows, its place is. It is kept only if it gives the line of the first death byte for
//! byte; a text that holds such a number by chance makes no template.
//!
//! **Invariant:** the same bytes as [`super::json::line`].
//! **Bounded:** [`PLACES`] templates of [`LONGEST`] bytes; a newcomer replaces what was in its place.

use std::{ops::Range, sync::Arc};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Body, Event, ExitEvent, Numbers, Shape, Time};

/// Places: as many as there are shapes at a time.
const PLACES: usize = 512;
/// Longest line that becomes a template: a record that can be a pattern makes a longer one only of what must be escaped.
const LONGEST: usize = 4 << 10;
/// Room for the numbers of a line.
const NUMBERS: usize = 256;

/// Numbers that no death has.
const SENTINEL_SEQ: u64 = 18_014_398_509_481_987;
const SENTINEL: Numbers = Numbers {
    pid: 4_031_415_927,
    start_time: Time(Timestamp::constant(13_371, 141_592_653)),
    ppid: 4_027_182_819,
    ns_pid: 4_014_142_137,
    lifetime_seconds: 161_803_398.875,
    peak_rss_bytes: 15_772_156_649_015_329,
};
const SENTINEL_TIME: Time = Time(Timestamp::constant(17_777, 271_828_183));

/// Lines of deaths by their shapes.
pub(super) struct LineCache {
    places: Box<[Option<Box<Entry>>]>,
    time: SecondText,
    start_time: SecondText,
}

impl Default for LineCache {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| None).collect();
        Self { places, time: SecondText::default(), start_time: SecondText::default() }
    }
}

/// A shape, and its template where it can have one.
type Entry = (Shape, Option<Template>);

/// A line with places for numbers.
struct Template {
    text: Vec<u8>,
    /// In the order of the line.
    places: Vec<(Range<usize>, Number)>,
}

/// What belongs to a place.
#[derive(Clone, Copy)]
enum Number {
    /// With its key, since it may be absent.
    Seq,
    Time,
    Pid,
    StartTime,
    Ppid,
    NsPid,
    Lifetime,
    Peak,
}

impl LineCache {
    /// Appends the line of a death of that shape, if that is known how.
    pub(super) fn line(
        &mut self,
        event: &Event,
        exit: &ExitEvent,
        shape: Shape,
        to: &mut Vec<u8>,
    ) -> Result<bool> {
        let known = self.places[shape.place(PLACES)].as_deref();
        match known.filter(|(of, _)| *of == shape) {
            Some((_, Some(template))) => {
                template.fill(event, exit, (&mut self.time, &mut self.start_time), to)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Learns how a death of that shape looks; `line`: the line of this one.
    pub(super) fn learn(
        &mut self,
        event: &Event,
        exit: &ExitEvent,
        shape: Shape,
        line: &[u8],
    ) -> Result<()> {
        let slot = &mut self.places[shape.place(PLACES)];
        if slot.as_deref().is_some_and(|(of, _)| *of == shape) {
            // It can't be a template.
            return Ok(());
        }
        let mut template = Template::of(event, exit)?;
        let mut filled = Vec::new();
        template.fill(event, exit, (&mut self.time, &mut self.start_time), &mut filled)?;
        let is_right = filled == line && line.len() <= LONGEST && template.text.len() <= LONGEST;
        template.text.shrink_to_fit();
        *slot = Some(Box::new((shape, is_right.then_some(template))));
        Ok(())
    }
}

impl Template {
    fn of(event: &Event, exit: &ExitEvent) -> Result<Self> {
        let mut exit = exit.clone();
        exit.put(&SENTINEL);
        let body = Body::Exit(Arc::new(exit));
        let event = Event { seq: Some(SENTINEL_SEQ), time: SENTINEL_TIME, body, ..event.clone() };
        let mut text = serde_json::to_vec(&event)?;
        text.push(b'\n');
        let mut places = Vec::new();
        let mut find = |needle: Vec<u8>, number| {
            let found = memchr::memmem::find_iter(&text, &needle);
            places.extend(found.map(|at| (at..at + needle.len(), number)));
        };
        find(format!("\"seq\":{SENTINEL_SEQ},").into_bytes(), Number::Seq);
        find(serde_json::to_vec(&SENTINEL_TIME)?, Number::Time);
        find(serde_json::to_vec(&SENTINEL.pid)?, Number::Pid);
        find(serde_json::to_vec(&SENTINEL.start_time)?, Number::StartTime);
        find(serde_json::to_vec(&SENTINEL.ppid)?, Number::Ppid);
        find(serde_json::to_vec(&SENTINEL.ns_pid)?, Number::NsPid);
        find(serde_json::to_vec(&SENTINEL.lifetime_seconds)?, Number::Lifetime);
        find(serde_json::to_vec(&SENTINEL.peak_rss_bytes)?, Number::Peak);
        places.sort_by_key(|(place, _)| place.start);
        Ok(Self { text, places })
    }

    fn fill(
        &self,
        event: &Event,
        exit: &ExitEvent,
        (time, start_time): (&mut SecondText, &mut SecondText),
        to: &mut Vec<u8>,
    ) -> Result<()> {
        let process = &exit.process;
        to.reserve(self.text.len() + NUMBERS);
        let mut at = 0;
        for (place, number) in &self.places {
            to.extend_from_slice(self.text.get(at..place.start).unwrap_or_default());
            at = place.end;
            match number {
                Number::Seq => {
                    if let Some(seq) = event.seq {
                        to.extend_from_slice(b"\"seq\":");
                        write(seq, to)?;
                        to.push(b',');
                    }
                }
                Number::Time => time.write(event.time, to)?,
                Number::Pid => write(process.pid, to)?,
                Number::StartTime => {
                    process.start_time.map_or(Ok(()), |time| start_time.write(time, to))?;
                }
                Number::Ppid => write(process.ppid, to)?,
                Number::NsPid => write(process.ns_pid, to)?,
                Number::Lifetime => write(exit.lifetime_seconds, to)?,
                Number::Peak => write(exit.peak_rss_bytes, to)?,
            }
        }
        to.extend_from_slice(self.text.get(at..).unwrap_or_default());
        Ok(())
    }
}

fn write(number: impl Serialize, to: &mut Vec<u8>) -> Result<()> {
    Ok(serde_json::to_writer(to, &number)?)
}

/// The text of the last second: most times lie in it.
struct SecondText {
    /// Above 0, or none that there is.
    second: i64,
    /// A quotation mark, date and time, and the point.
    text: [u8; 21],
}

impl Default for SecondText {
    fn default() -> Self {
        Self { second: i64::MIN, text: *b"\"1970-01-01T00:00:00." }
    }
}

impl SecondText {
    /// Appends the time as it serializes.
    fn write(&mut self, time: Time, to: &mut Vec<u8>) -> Result<()> {
        let second = time.0.as_second();
        if second != self.second {
            let begin = to.len();
            serde_json::to_writer(&mut *to, &time)?;
            // Only then is the year one of four digits, and the fraction counts upwards.
            let whole = to.get(begin..).and_then(|text| text.first_chunk());
            if let Some(whole) = whole.filter(|_| second > 0) {
                (self.second, self.text) = (second, *whole);
            }
            return Ok(());
        }
        to.extend_from_slice(&self.text);
        let mut rest = time.0.subsec_nanosecond().unsigned_abs();
        let mut digits = *b"000000000Z\"";
        for digit in digits[..9].iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        to.extend_from_slice(&digits);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::json::{JsonLines, line};

    fn event(arg: &str, parts: u32) -> Event {
        let mut process = json!({"pid": 7, "start_time": "2026-11-22T14:32:14Z", "comm": "node", "args": [arg], "ppid": 5});
        if parts & 1 > 0 {
            process["parent"] = json!({"pid": 5, "comm": "sh"});
        }
        if parts & 2 > 0 {
            process["ns_pid"] = json!(3);
        }
        let mut text = json!({
            "schema": 2, "seq": 9, "time": "2026-11-22T14:32:15Z", "boot_id": "b", "host": "h", "kind": "exit", "process": process,
            "status": {"code": 1, "shell_status": 1}, "lifetime_seconds": 1.0,
            "cause": {"type": "exit_code", "summary": arg, "evidence": [], "confidence": "certain"},
        });
        if parts & 4 > 0 {
            text["peak_rss_bytes"] = json!(4096);
        }
        if parts & 8 > 0 {
            text["cause"]["sender"] = process;
        }
        serde_json::from_value(text).expect("an event")
    }

    fn with_numbers(
        event: &Event,
        shape: Option<Shape>,
        time: Timestamp,
        numbers: &Numbers,
    ) -> Event {
        let Body::Exit(exit) = &event.body else { unreachable!("a death") };
        let mut exit = ExitEvent { shape, ..(**exit).clone() };
        exit.put(numbers);
        let seq = Some(numbers.pid.into()).filter(|seq| seq % 3 > 0);
        Event { seq, time: Time(time), body: Body::Exit(Arc::new(exit)), ..event.clone() }
    }

    fn time() -> impl Strategy<Value = Timestamp> {
        let near = (1_795_357_935_i64..1_795_357_938, 0_i32..1_000_000_000);
        let far = (-5_i64..5, 0_i32..1_000_000_000);
        let of = |(second, nanosecond)| Timestamp::new(second, nanosecond).expect("a time");
        prop_oneof![4 => near, 1 => far].prop_map(of)
    }

    prop_compose! {
        fn numbers()(
            pid: u32, start in time(), ppid: u32, ns_pid: u32, lifetime_seconds in 0.0..1e9_f64, peak_rss_bytes: u64,
        ) -> Numbers {
            Numbers { pid, start_time: Time(start), ppid, ns_pid, lifetime_seconds, peak_rss_bytes }
        }
    }

    proptest! {
        #[test]
        fn a_line_from_the_one_before_is_as_the_serializer_makes_it(
            arg in prop_oneof![Just("server.js"), Just("\"4031415927"), Just("\u{1}\\,\"seq\":18014398509481987,")],
            parts in 0_u32..16,
            deaths in prop::collection::vec((time(), numbers()), 1..20),
        ) {
            let (event, shape) = (event(arg, parts), Shape::new());
            let (mut lines, mut ours, mut theirs) = (JsonLines::default(), Vec::new(), Vec::new());
            for (time, numbers) in deaths {
                let death = with_numbers(&event, shape, time, &numbers);
                lines.line(&death, &mut ours).expect("JSON");
                line(&death, &mut theirs).expect("JSON");
                prop_assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
            }
        }
    }

    #[test]
    fn a_number_in_a_text_makes_no_template_nor_does_a_long_line() {
        let long = "x".repeat(LONGEST);
        for (arg, is_template) in [("server.js", true), ("4031415927", false), (&long, false)] {
            let shape = Shape::new().expect("one");
            let event = event(arg, 15);
            let death = with_numbers(&event, Some(shape), event.time.0, &SENTINEL);
            let numbers = Numbers { pid: 8, ..SENTINEL };
            let death = with_numbers(&death, Some(shape), event.time.0, &numbers);
            let Body::Exit(exit) = &death.body else { unreachable!("a death") };
            let (mut cache, mut text) = (LineCache::default(), Vec::new());
            assert!(!cache.line(&death, exit, shape, &mut text).expect("JSON"));
            line(&death, &mut text).expect("JSON");
            cache.learn(&death, exit, shape, &text).expect("JSON");
            assert_eq!(cache.line(&death, exit, shape, &mut text).expect("JSON"), is_template);
            // What can't be a template is not tried again and again.
            assert!(cache.places[shape.place(PLACES)].is_some());
        }
    }
}
