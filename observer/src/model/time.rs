//! Times as RFC 3339 in UTC, always with nine digits: equal lengths sort and compare as text.

use std::{borrow::Cow, fmt};

use jiff::{
    Timestamp,
    fmt::{StdIoWrite, temporal::DateTimePrinter},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// Prints as [`Time`]'s `Display`, without the cost of a formatter: each event has two times.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

/// Length of the longest text, that of the earliest time.
const LONGEST: usize = "-009999-01-02T01:59:59.000000000Z".len();

/// A moment, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // On the stack: an allocation costs as much as the digits.
        let mut bytes = [0; LONGEST];
        let mut rest = StdIoWrite(&mut bytes[..]);
        PRINTER.print_timestamp(&self.0, &mut rest).map_err(S::Error::custom)?;
        let len = LONGEST - rest.0.len();
        let text = std::str::from_utf8(&bytes[..len]).map_err(S::Error::custom)?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$",
            "description": "RFC 3339 in UTC, with nanoseconds"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Time, Timestamp};

    #[test]
    fn nine_digits_always() {
        let time: Time = serde_json::from_str("\"2026-11-22T14:32:15Z\"").expect("a time");
        assert_eq!(time.to_string(), "2026-11-22T14:32:15.000000000Z");
        for time in [time, Time(Timestamp::MIN), Time(Timestamp::MAX), Time(Timestamp::UNIX_EPOCH)]
        {
            assert_eq!(serde_json::to_string(&time).expect("JSON"), format!("\"{time}\""));
        }
    }
}
