//! `observer log`: stored events, filtered.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;

use super::show::encoder;
use crate::{
    cli::{Format, LogArgs, Settings},
    error::status,
    logging,
    model::{Event, human},
    stdout::{Reader, StdoutLines},
    store::{
        Folder,
        query::{Flow, Query},
    },
};

/// How long a search may take before it shows how far it is.
const SILENT: Duration = Duration::from_millis(500);

/// Shows what the store has; exit status 1 when nothing matches.
pub fn run(args: &LogArgs, settings: &Settings) -> Result<u8> {
    args.show.filter.check()?;
    let folder = Folder::with_events(&settings.dir)?;
    let format = args.show.format();
    let mut out = StdoutLines::new();
    let mut encoder = encoder(format, TimeZone::system());
    write(&mut out, &encoder.header()?)?;
    let mut encoded = Vec::new();
    let mut shown = 0u64;
    let mut progress = Progress::of(&folder)?;
    let each = |line: &[u8], event: Option<Event>| {
        shown += 1;
        encoded.clear();
        if let Some(event) = event.filter(|_| format != Format::Json) {
            encoder.event(&event, &mut encoded)?;
        } else {
            // As it was written, byte for byte.
            encoded.extend_from_slice(line);
            encoded.push(b'\n');
        }
        write(&mut out, &encoded)
    };
    let query = Query::new(&args.show.filter);
    let met = query.run(&folder, |bytes| progress.at(bytes), each, format != Format::Json)?;
    progress.end();
    out.flush().context("can't write to standard output")?;
    if met.lost > 0 {
        let lost = human::count(met.lost, "event");
        logging::say(&format!("observer: {lost} of that time were lost: --kind loss shows when"));
    }
    met.warn();
    Ok(match (met.broken.is_empty(), shown) {
        (false, _) => status::UNREACHABLE,
        (true, 0) => status::NO_MATCH,
        (true, _) => status::DONE,
    })
}

fn write(out: &mut StdoutLines, bytes: &[u8]) -> Result<Flow> {
    let reader = out.write(bytes).context("can't write to standard output")?;
    Ok(if reader == Reader::There { Flow::Continue } else { Flow::Stop })
}

/// A bar on stderr, when that is a terminal and the search takes long.
struct Progress {
    total: u64,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn of(folder: &Folder) -> Result<Self> {
        let wanted = std::io::stderr().is_terminal();
        let segments = if wanted { folder.segments()? } else { Vec::new() };
        let files = segments.iter().filter_map(|segment| {
            let bytes = std::fs::metadata(segment.events.as_ref()?).ok()?.len();
            // Events are compressed about 10 to 1; a bar need not be exact.
            Some(if segment.compressed { bytes * 10 } else { bytes })
        });
        Ok(Self { total: files.sum(), began: Instant::now(), bar: None })
    }

    fn at(&mut self, bytes: u64) {
        if self.total == 0 || self.began.elapsed() < SILENT {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
            style.map_or(bar.clone(), |style| bar.with_style(style))
        });
        bar.set_length(self.total.max(bytes));
        bar.set_position(bytes);
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
