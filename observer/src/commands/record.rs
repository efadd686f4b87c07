//! `observer tail --record`: writes what the rings give, beside showing it.

use std::{collections::HashSet, fs::File, io, io::BufWriter, path::Path};

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::{
    decode::{self, KernelEvent},
    enrich::kallsyms,
    kernel::{
        loss::Loss,
        recording::{Header, RecordingWriter},
    },
    logging,
    pipeline::Looked,
};

/// A recording under way.
pub struct Recorder {
    /// `None` once the file could not be written: watching goes on without it.
    writer: Option<RecordingWriter<BufWriter<File>>>,
    known: HashSet<u64>,
}

impl Recorder {
    /// Begins a new file.
    pub fn create(path: &Path, header: &Header) -> Result<Self> {
        let writer = RecordingWriter::create(path, header)
            .with_context(|| format!("can't record to {}", path.display()))?;
        Ok(Self { writer: Some(writer), known: HashSet::new() })
    }

    /// Writes what was drained.
    pub fn drain(&mut self, now_ns: u64, records: &[Bytes]) {
        let symbols = self.symbols(records);
        self.write(|writer| {
            writer.drain(now_ns)?;
            symbols.iter().try_for_each(|(address, name)| writer.symbol(*address, name))?;
            records.iter().try_for_each(|record| writer.record(record))?;
            writer.flush()
        });
    }

    /// Writes what a look has found.
    pub fn look(&mut self, found: &Result<Looked>) {
        // A recording without it would tell another story: then rather none.
        let json = match found {
            Ok(found) => serde_json::to_vec(found).map_err(io::Error::from),
            Err(_) => Ok(Vec::new()),
        };
        self.write(|writer| {
            writer.look(&json?)?;
            writer.flush()
        });
    }

    /// Writes what was found to be lost.
    pub fn losses(&mut self, losses: &[Loss]) {
        self.write(|writer| {
            losses.iter().try_for_each(|loss| writer.loss(loss))?;
            writer.flush()
        });
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut RecordingWriter<BufWriter<File>>) -> io::Result<()>,
    ) {
        if let Some(writer) = &mut self.writer
            && let Err(error) = write(writer)
        {
            logging::say(&format!("observer: recording stopped: {error}"));
            self.writer = None;
        }
    }

    /// Names that only this kernel can tell, of functions on stacks that weren't seen before.
    fn symbols(&mut self, records: &[Bytes]) -> Vec<(u64, String)> {
        let mut new: Vec<u64> = Vec::new();
        for record in records {
            if let Ok(KernelEvent::Oom(oom)) = decode::decode(record) {
                new.extend(oom.frames().iter().filter(|at| self.known.insert(**at)));
            }
        }
        if new.is_empty() {
            return Vec::new();
        }
        let names = kallsyms::names(&new);
        new.into_iter().zip(names).filter_map(|(at, name)| Some((at, name?))).collect()
    }
}
