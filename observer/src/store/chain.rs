//! The chain of hashes: each link covers every seal before it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

use crate::model::hex;

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Hash of the hashes of all events: a seal's `sha256`.
    #[must_use]
    pub fn of_all(hashes: &[Self]) -> Self {
        let mut sum = Sha256::new();
        for hash in hashes {
            sum.update(hash.0);
        }
        Self(sum.finalize().into())
    }

    /// The next link of the chain: this one, followed by `text`.
    #[must_use]
    pub fn then(&self, text: &[u8]) -> Self {
        let mut sum = Sha256::new();
        sum.update(self.0);
        sum.update(text);
        Self(sum.finalize().into())
    }

    /// The first 8 bytes: enough to find which event differs; [`Self::of_all`] proves that none does.
    #[must_use]
    pub fn short(&self) -> Short {
        let mut short = [0; 8];
        short.copy_from_slice(&self.0[..8]);
        Short(short)
    }
}

/// The hash of a line that comes in pieces.
#[derive(Default)]
pub struct LineHash(Sha256);

impl LineHash {
    /// Its next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Of the whole line.
    #[must_use]
    pub fn hash(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// The first 8 bytes of an event's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Short(pub [u8; 8]);

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

macro_rules! as_hex {
    ($type:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                hex(&self.0).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                let bytes = crate::model::unhex(&text).and_then(|bytes| bytes.try_into().ok());
                bytes.map(Self).ok_or_else(|| D::Error::custom("not a hash in hexadecimal"))
            }
        }
    };
}

as_hex!(Hash);
as_hex!(Short);
