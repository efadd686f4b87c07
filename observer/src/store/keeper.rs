//! Keeps the folder within its limits: compresses closed segments, removes the oldest.
//!
//! **Invariant:** [`beyond_limits`] never names the current segment. Callers write a removal for age or size to the seals
//! before they call [`remove`].

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{
    Folder, Limits, Segment,
    folder::{COMPRESSED, PLAIN, open_to_read},
};

/// zstd's own default: 10 to 1 on events, at 200 MB/s.
const LEVEL: i32 = 3;

/// Compresses closed segments, one after the other, on a thread of its own.
pub fn compress(folder: &Folder, segments: Vec<Segment>) {
    let folder = folder.clone();
    let started = std::thread::Builder::new().name("compress".to_owned()).spawn(move || {
        for segment in segments {
            if let Err(error) = compress_now(&folder, &segment)
                // Removed for its age or size meanwhile.
                && error.kind() != io::ErrorKind::NotFound
            {
                // It stays readable, and the next start tries again.
                tracing::warn!("can't compress {}: {error}", segment.stem);
            }
        }
    });
    if let Err(error) = started {
        tracing::warn!("can't start a thread to compress segments: {error}");
    }
}

/// Compresses the segments that an earlier run left plain, except the newest.
pub fn compress_closed(folder: &Folder, segments: &[Segment]) {
    let Some((_, older)) = segments.split_last() else { return };
    let mut plain_ones = Vec::new();
    for segment in older.iter().filter(|segment| segment.events.is_some()) {
        let plain = folder.path().join(format!("{}.{PLAIN}", segment.stem));
        if !segment.compressed {
            plain_ones.push(segment.clone());
        } else if plain.exists() {
            // The run before ended between compression and removal.
            let _ = fs::remove_file(plain);
        }
    }
    if !plain_ones.is_empty() {
        compress(folder, plain_ones);
    }
}

fn compress_now(folder: &Folder, segment: &Segment) -> io::Result<()> {
    let Some(plain) = &segment.events else { return Ok(()) };
    let done = folder.path().join(format!("{}.{COMPRESSED}", segment.stem));
    let new = folder.path().join(format!("{}.new", segment.stem));
    let outcome = write_compressed(folder, plain, &new);
    if outcome.is_err() {
        let _ = fs::remove_file(&new);
    }
    outcome?;
    fs::rename(&new, &done)?;
    folder.sync()?;
    match fs::remove_file(plain) {
        // The segment was removed for its age or size meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(done),
        other => other,
    }
}

fn write_compressed(folder: &Folder, from: &Path, to: &Path) -> io::Result<()> {
    let file = folder.open(to)?;
    file.set_len(0)?;
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut open_to_read(from)?, &mut encoder)?;
    let file = encoder.finish()?;
    // Its age is that of its last event.
    file.set_modified(fs::metadata(from)?.modified()?)?;
    file.sync_all()
}

/// The segments beyond the limits of size and age, oldest first; never the one with the number `current`.
#[must_use]
pub fn beyond_limits(folder: &Folder, limits: &Limits, current: u64) -> Vec<Segment> {
    let Ok(segments) = folder.own_segments() else { return Vec::new() };
    let mut total: u64 = segments.iter().map(size).sum();
    let now = SystemTime::now();
    let old = |segment: &Segment| age(segment, now).is_some_and(|age| age > limits.keep_age);
    segments
        .into_iter()
        .filter(|segment| segment.number < current)
        .take_while(|segment| {
            let goes = total > limits.keep_bytes || old(segment);
            total = total.saturating_sub(size(segment));
            goes
        })
        .collect()
}

/// Removes segments with their seals.
pub fn remove(folder: &Folder, segments: &[Segment]) {
    for segment in segments {
        // Both names, in this order: the compressing thread may be at work on it.
        let [plain, compressed] = [PLAIN, COMPRESSED]
            .map(|ending| folder.path().join(format!("{}.{ending}", segment.stem)));
        for file in [&plain, &compressed, &segment.seals] {
            if let Err(error) = fs::remove_file(file)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("can't remove {}: {error}", file.display());
            }
        }
    }
}

fn size(segment: &Segment) -> u64 {
    let files = segment.events.iter().chain([&segment.seals]);
    files.filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len()).sum()
}

fn age(segment: &Segment, now: SystemTime) -> Option<Duration> {
    let meta = fs::metadata(segment.events.as_ref().unwrap_or(&segment.seals)).ok()?;
    now.duration_since(meta.modified().ok()?).ok()
}
