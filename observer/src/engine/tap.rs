//! `observer tail --capture`: writes what drives the engine to a capture, beside showing the events.

use std::{fs::File, io::BufWriter, path::Path};

use anyhow::{Context, Result};

use super::{
    Input,
    capture::{CaptureWriter, Header},
};
use crate::logging;

/// A capture under way.
pub(super) struct Tap {
    /// `None` once the file could not be written: watching goes on without it.
    writer: Option<CaptureWriter<BufWriter<File>>>,
}

impl Tap {
    /// Begins a new file.
    pub(super) fn create(path: &Path, header: &Header) -> Result<Self> {
        let writer = CaptureWriter::create(path, header)
            .with_context(|| format!("can't capture to {}", path.display()))?;
        Ok(Self { writer: Some(writer) })
    }

    /// Writes an input. A file that can't be written is said once, and ends the capture.
    pub(super) fn input(&mut self, now_ns: u64, input: &Input) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(error) = writer.input(now_ns, input).and_then(|()| writer.flush()) {
            logging::say(&format!("observer: the capture stopped: {error}"));
            self.writer = None;
        }
    }
}
