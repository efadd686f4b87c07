//! Serializes kernel structures as hexadecimal inside JSON, for the inputs in a capture that do not come from the rings.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::model::{hex, unhex};

/// Writes the bytes.
pub(crate) fn serialize<T, S>(record: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: IntoBytes + Immutable,
    S: Serializer,
{
    hex(record.as_bytes()).serialize(serializer)
}

/// Reads the structure; fails if the length differs.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromBytes,
    D: Deserializer<'de>,
{
    let bytes = unhex(&String::deserialize(deserializer)?);
    let record = bytes.and_then(|bytes| T::read_from_bytes(&bytes).ok());
    record.ok_or_else(|| D::Error::custom("not a record of this version"))
}

/// Bytes of any length.
pub(crate) mod bytes {
    use super::{Deserialize, Deserializer, Serialize, Serializer, hex, unhex};
    use serde::de::Error as _;

    /// In hexadecimal.
    pub(crate) fn serialize<T, S>(bytes: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: AsRef<[u8]>,
        S: Serializer,
    {
        hex(bytes.as_ref()).serialize(serializer)
    }

    /// From hexadecimal.
    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: From<Vec<u8>>,
        D: Deserializer<'de>,
    {
        let bytes = unhex(&String::deserialize(deserializer)?);
        bytes.map(T::from).ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}

#[cfg(test)]
mod tests {
    use crate::decode::{Task, samples::task};
    use crate::model::unhex;

    #[test]
    fn a_task_survives_the_round_trip() {
        assert_eq!(unhex("00fF7f"), Some(vec![0, 255, 127]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
        let text = serde_json::to_string(&task(20)).expect("JSON");
        let back: Task = serde_json::from_str(&text).expect("a task");
        assert_eq!(format!("{back:?}"), format!("{:?}", task(20)));
        assert!(
            serde_json::from_str::<Task>(&text.replacen("\"record\":\"", "\"record\":\"00", 1))
                .is_err()
        );
    }
}
