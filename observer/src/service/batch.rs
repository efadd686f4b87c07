//! Events on their way to the store and to clients: each is encoded once.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;

use crate::{
    format::json::JsonLines,
    model::{Body, Event, Kind, Time},
    store::StoredEvent,
};

/// An event as JSON with a line end, and what its readers need to know without parsing it.
#[derive(Clone, Debug)]
pub struct EncodedEvent {
    /// The line.
    pub text: Bytes,
    /// Its number in the store; `None`: it is for clients only.
    pub seq: Option<u64>,
    /// Its kind.
    pub kind: Kind,
    /// Its time.
    pub time: Time,
    /// An ordinary death or an event of a flood, which is not stored: only for clients that asked for all.
    pub only_all: bool,
    lost: BTreeMap<String, u64>,
}

/// Who wants events that are not stored.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Somebody listens.
    pub any: bool,
    /// Somebody listens who asked for all.
    pub all: bool,
}

impl EncodedEvent {
    /// Encodes an event; `None`: nobody wants it.
    pub fn of(event: &Event, wanted: Wanted, lines: &mut JsonLines) -> Result<Option<Self>> {
        let only_all = event.seq.is_none()
            && matches!(
                event.body,
                Body::Exit(_) | Body::Bind(_) | Body::Listen(_) | Body::Release(_)
            );
        let is_wanted = event.seq.is_some() || if only_all { wanted.all } else { wanted.any };
        if !is_wanted {
            return Ok(None);
        }
        let mut text = Vec::with_capacity(1024);
        lines.line(event, &mut text)?;
        let lost = match &event.body {
            Body::Loss(loss) => loss.lost.clone(),
            _ => BTreeMap::new(),
        };
        let (kind, time) = (event.body.kind(), event.time);
        Ok(Some(Self { text: text.into(), seq: event.seq, kind, time, only_all, lost }))
    }

    /// The same for the store, where it has a number.
    #[must_use]
    pub fn stored(&self) -> Option<StoredEvent> {
        Some(StoredEvent {
            text: self.text.clone(),
            seq: self.seq?,
            kind: self.kind,
            lost: self.lost.clone(),
            time: self.time.0,
        })
    }
}
