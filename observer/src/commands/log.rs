//! `observer log`: recorded events, filtered.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;

use crate::{
    cli::{LogArgs, LogFormat},
    error::status,
    logging,
    model::{Event, human},
    records::{
        Folder,
        scan::{Go, Query},
    },
    sinks::{
        csv, ecs,
        stdout::{Lines, Reader},
        style::Palette,
        text::TextFormat,
    },
};

/// How long a search may take before it shows how far it is.
const SILENT: Duration = Duration::from_millis(500);

/// Shows what the record has; exit status 1 when nothing matches.
pub fn run(args: &LogArgs, dir: &std::path::Path) -> Result<u8> {
    args.filter.check()?;
    let folder = Folder::at(dir);
    let format = if args.json { LogFormat::Json } else { args.format };
    let mut out = Lines::stdout();
    let text = TextFormat::new(Palette::for_stdout(), TimeZone::system()).within(std::io::stdout());
    if format == LogFormat::Csv {
        write(&mut out, csv::header()?.as_bytes())?;
    }
    let mut shown = 0u64;
    let mut progress = Progress::of(&folder)?;
    let each = |line: &[u8], event: Option<Event>| {
        shown += 1;
        let go = match (format, &event) {
            (LogFormat::Text, Some(event)) => write(&mut out, text.event(event).as_bytes())?,
            (LogFormat::Csv, Some(event)) => write(&mut out, csv::event(event)?.as_bytes())?,
            (LogFormat::Ecs, Some(event)) => {
                write(&mut out, (ecs::event(event)? + "\n").as_bytes())?
            }
            // As it was written, byte for byte.
            _ => {
                write(&mut out, line)?;
                write(&mut out, b"\n")?
            }
        };
        Ok(go)
    };
    let query = Query::new(&args.filter);
    let met = query.run(&folder, |bytes| progress.at(bytes), each, format != LogFormat::Json)?;
    progress.end();
    out.flush().context("can't write to standard output")?;
    if met.lost > 0 {
        let lost = human::count(met.lost, "event");
        logging::say(&format!(
            "observer: the record lacks {lost} of that time, which were lost: --kind loss shows when"
        ));
    }
    met.say();
    Ok(match (met.broken.is_empty(), shown) {
        (false, _) => status::UNREACHABLE,
        (true, 0) => status::NO_MATCH,
        (true, _) => status::DONE,
    })
}

fn write(out: &mut Lines, bytes: &[u8]) -> Result<Go> {
    let reader = out.write(bytes).context("can't write to standard output")?;
    Ok(if reader == Reader::There { Go::On } else { Go::Stop })
}

/// A bar on standard error, when it takes long and somebody looks.
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
